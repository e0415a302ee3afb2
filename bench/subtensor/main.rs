//! Times the arithmetic of subtensor's `epoch_mechanism` with Yuma3On and a constant alpha, without its storage.
//!
//! Standard input holds one epoch in numbers: rows, columns and alpha in ppm; of each row its stake, whether it has a
//! permit, and its last update; of each column the block of its registration; the block of the epoch before; then the
//! weights and the bonds, row by row, in u16. Whoever reads the answer asks for one epoch by a line; the answer is the
//! CPU time of all epochs so far, in ns. The first line that comes back holds the incentive, in units of 2^-32.

extern crate alloc;

mod math;

use math::*;
use std::io::{stdin, BufRead, Write};
use substrate_fixed::types::{I32F32, I64F64};

type Sparse = Vec<Vec<(u16, I32F32)>>;

struct Epoch {
    stake: Vec<I64F64>,
    permits: Vec<bool>,
    last_update: Vec<u64>,
    registered: Vec<u64>,
    before: u64,
    columns: u16,
    alpha: I32F32,
    weights: Sparse,
    bonds: Sparse,
}

fn parse(line: &str) -> Epoch {
    let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u64>().expect("a number"));
    let mut next = || numbers.next().expect("another number");
    let (rows, columns, ppm) = (next(), next(), next());
    let mut e = Epoch {
        stake: vec![],
        permits: vec![],
        last_update: vec![],
        registered: vec![],
        before: 0,
        columns: columns as u16,
        alpha: I32F32::saturating_from_num(ppm) / I32F32::saturating_from_num(1_000_000),
        weights: vec![],
        bonds: vec![],
    };
    for _ in 0..rows {
        e.stake.push(I64F64::saturating_from_num(next()));
        e.permits.push(next() == 1);
        e.last_update.push(next());
    }
    for _ in 0..columns {
        e.registered.push(next());
    }
    e.before = next();
    let mut matrix = |proportion: bool| -> Sparse {
        let mut entry = |j: u64| {
            let value = u16_to_fixed(next() as u16);
            (j as u16, if proportion { fixed_to_fixed_u16_proportion(value) } else { value })
        };
        (0..rows).map(|_| (0..columns).map(&mut entry).collect()).collect()
    };
    e.weights = matrix(false);
    e.bonds = matrix(true);
    e
}

/// In the order of run_epoch.rs. As many rows as columns are neurons that are both; else there is no diagonal to mask.
fn epoch(e: &Epoch) -> (Vec<I32F32>, Vec<I32F32>, Vec<Vec<(u16, u16)>>) {
    let n = e.columns;
    let mut filtered = e.stake.clone();
    inplace_normalize_64(&mut filtered);
    let stake = vec_fixed64_to_fixed32(filtered);
    let forbids: Vec<bool> = e.permits.iter().map(|&b| !b).collect();
    let permits = is_topk_nonzero(&stake, 128);
    let mut active = stake.clone();
    inplace_mask_vector(&forbids, &mut active);
    inplace_normalize(&mut active);

    let mut weights = mask_rows_sparse(&forbids, &e.weights);
    if e.permits.len() == n as usize {
        weights = mask_diag_sparse(&weights);
    }
    weights = vec_mask_sparse_matrix(&weights, &e.last_update, &e.registered, &|updated, registered| updated <= registered);
    inplace_row_normalize_sparse(&mut weights);
    let kappa = I32F32::saturating_from_num(32_767) / I32F32::saturating_from_num(u16::MAX);
    let consensus = weighted_median_col_sparse(&active, &weights, n, kappa);
    let clipped = col_clip_sparse(&weights, &consensus);
    let trust = row_sum_sparse(&clipped);
    let mut incentive = matmul_sparse(&clipped, &active, n);
    inplace_normalize(&mut incentive);

    let wanted = interpolate_sparse(&weights, &clipped, n, I32F32::saturating_from_num(1));
    let held = scalar_vec_mask_sparse_matrix(&e.bonds, e.before, &e.registered, &|before, registered| before <= registered);
    let bonds = mat_ema_sparse(&wanted, &held, e.alpha);
    let mut shares = bonds.clone();
    inplace_col_normalize_sparse(&mut shares, n);
    let income = row_sum_sparse(&mat_vec_mul_sparse(&shares, &incentive));
    let mut dividends = vec_mul(&income, &active);
    inplace_normalize(&mut dividends);

    let kept = |(row, permit): (&Vec<(u16, I32F32)>, &bool)| -> Vec<(u16, u16)> {
        if *permit { row.iter().map(|(j, value)| (*j, fixed_proportion_to_u16(*value))).collect() } else { vec![] }
    };
    let stored = bonds.iter().zip(&permits).map(kept).collect();
    std::hint::black_box(trust);
    (incentive, dividends, stored)
}

fn cpu_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // It only fills in `t`, which outlives it.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) }, 0);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn main() {
    let mut lines = stdin().lock().lines().map(|line| line.expect("a line"));
    let e = parse(&lines.next().expect("an epoch"));
    let (incentive, _, _) = epoch(&e);
    let bits: Vec<String> = incentive.iter().map(|share| share.to_bits().to_string()).collect();
    println!("{}", bits.join(" "));
    let mut spent = 0;
    for _ in lines {
        let start = cpu_ns();
        std::hint::black_box(epoch(std::hint::black_box(&e)));
        spent += cpu_ns() - start;
        println!("{spent}");
        std::io::stdout().flush().expect("a reader");
    }
}
