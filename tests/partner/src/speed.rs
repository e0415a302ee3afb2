//! CPU time of each operation in microseconds, median of some rounds; what `bench/threshold.py` measures of davy.

use std::collections::BTreeMap;

use frost_ed25519::keys::{dkg, generate_with_dealer, IdentifierList, KeyPackage};
use frost_ed25519::{aggregate, round1, round2, Error, Identifier, SigningPackage};
use rand_core::OsRng;

/// CPU time of this process.
fn now() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Safety: `t` is a valid timespec for the call to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<f64>>);

impl Times {
    fn of<T>(&mut self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let began = now();
        let done = work();
        self.0.entry(what).or_default().push(now() - began);
        done
    }

    fn medians(mut self) -> Vec<String> {
        let mut out = Vec::new();
        for (what, times) in &mut self.0 {
            times.sort_by(f64::total_cmp);
            out.push(format!("{what}={}", times[times.len() / 2]));
        }
        out
    }
}

pub fn measure(t: u16, n: u16, rounds: u16) -> Result<Vec<String>, Error> {
    let mut times = Times::default();
    let (shares, public) = generate_with_dealer(n, t, IdentifierList::Default, OsRng)?;
    let mut keys: BTreeMap<Identifier, KeyPackage> = BTreeMap::new();
    for (i, share) in shares.into_iter().take(t as usize) {
        keys.insert(i, KeyPackage::try_from(share)?);
    }
    let first = keys.values().next().expect("t is at least 2");
    let message = b"stop the model";
    for _ in 0..rounds {
        let mut nonces = BTreeMap::new();
        let mut commitments = BTreeMap::new();
        for (i, key) in &keys {
            let (mine, told) = times.of("commit", || round1::commit(key.signing_share(), &mut OsRng));
            nonces.insert(*i, mine);
            commitments.insert(*i, told);
        }
        let package = SigningPackage::new(commitments, message);
        let mut made = BTreeMap::new();
        for (i, key) in &keys {
            // All are needed, one is measured: in a large group it is most of the time.
            let share = if i == first.identifier() {
                times.of("sign", || round2::sign(&package, &nonces[i], key))?
            } else {
                round2::sign(&package, &nonces[i], key)?
            };
            made.insert(*i, share);
        }
        let signature = times.of("aggregate", || aggregate(&package, &made, &public))?;
        times.of("verify", || public.verifying_key().verify(message, &signature))?;
    }
    for _ in 0..if n > 20 { 1 } else { rounds.min(20) } {
        one_member(t, n, &mut times)?;
    }
    Ok(times.medians())
}

/// All parts of the making of a key for one member of n.
fn one_member(t: u16, n: u16, times: &mut Times) -> Result<(), Error> {
    let own = Identifier::try_from(1)?;
    let mut secrets = BTreeMap::new();
    let mut packages = BTreeMap::new();
    for number in 2..=n {
        let i = Identifier::try_from(number)?;
        let (secret, package) = dkg::part1(i, n, t, OsRng)?;
        secrets.insert(i, secret);
        packages.insert(i, package);
    }
    let began = now();
    let (secret, package) = dkg::part1(own, n, t, OsRng)?;
    let (secret, _) = dkg::part2(secret, &packages)?;
    let before = now() - began;
    let mut received = BTreeMap::new();
    for (i, theirs) in secrets {
        let mut others = packages.clone();
        others.remove(&i);
        others.insert(own, package.clone());
        received.insert(i, dkg::part2(theirs, &others)?.1[&own].clone());
    }
    let began = now();
    dkg::part3(&secret, &packages, &received)?;
    times.0.entry("dkg").or_default().push(before + now() - began);
    Ok(())
}
