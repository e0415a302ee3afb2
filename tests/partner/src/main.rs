//! The crate frost-ed25519 as a partner in davy's tests: one command a line in, one answer a line out.
//!
//! Words are hexadecimal bytes in the crate's own form on the wire, "-" for none; `ID=BYTES` says whose they are. It keeps
//! nothing between two lines: what is secret goes out and comes in again, for these are test keys.

mod speed;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use frost_ed25519::keys::{dkg, refresh, repairable, KeyPackage, PublicKeyPackage};
use frost_ed25519::{
    aggregate, round1, round2, Ed25519Sha512, Error, Identifier, Signature, SigningPackage, VerifyingKey,
};
use rand_core::OsRng;

/// What is told of a command that failed, and who is to blame.
struct Failure(String);

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let culprits: Vec<String> = e.culprits().iter().map(|i| hex::encode(i.serialize())).collect();
        Failure(format!("{e} | {}", culprits.join(" ")))
    }
}

impl From<&str> for Failure {
    fn from(e: &str) -> Self {
        Failure(format!("{e} | "))
    }
}

impl From<hex::FromHexError> for Failure {
    fn from(_: hex::FromHexError) -> Self {
        Failure::from("a word is not hexadecimal")
    }
}

type Answer = Result<Vec<String>, Failure>;

fn bytes(word: &str) -> Result<Vec<u8>, Failure> {
    Ok(if word == "-" { Vec::new() } else { hex::decode(word)? })
}

fn id(word: &str) -> Result<Identifier, Failure> {
    Ok(Identifier::deserialize(&bytes(word)?)?)
}

fn number(word: &str) -> Result<u16, Failure> {
    word.parse().map_err(|_| Failure::from("a word is no number"))
}

/// Words `ID=BYTES`, read by `open`.
fn by_id<T>(words: &[&str], open: fn(&[u8]) -> Result<T, Error>) -> Result<BTreeMap<Identifier, T>, Failure> {
    let mut found = BTreeMap::new();
    for word in words {
        let (who, what) = word.split_once('=').ok_or(Failure::from("ID=BYTES is needed"))?;
        if found.insert(id(who)?, open(&bytes(what)?)?).is_some() {
            return Err(Failure::from("an identifier is there twice"));
        }
    }
    Ok(found)
}

fn entry(who: &Identifier, what: &[u8]) -> String {
    format!("{}={}", hex::encode(who.serialize()), hex::encode(what))
}

fn make(step: &str, w: &[&str]) -> Answer {
    match step {
        "1" | "refresh1" => {
            let begin = if step == "1" { dkg::part1::<OsRng> } else { refresh::refresh_dkg_part1::<OsRng> };
            let (secret, package) = begin(id(w[0])?, number(w[1])?, number(w[2])?, OsRng)?;
            Ok(vec![hex::encode(secret.serialize()?), hex::encode(package.serialize()?)])
        }
        "2" | "refresh2" => {
            let deal = if step == "2" { dkg::part2 } else { refresh::refresh_dkg_part2 };
            let secret = dkg::round1::SecretPackage::deserialize(&bytes(w[0])?)?;
            let (secret, packages) = deal(secret, &by_id(&w[1..], dkg::round1::Package::deserialize)?)?;
            let mut out = vec![hex::encode(secret.serialize()?)];
            for (i, package) in &packages {
                out.push(entry(i, &package.serialize()?));
            }
            Ok(out)
        }
        "3" => {
            let others = number(w[1])? as usize;
            let secret = dkg::round2::SecretPackage::deserialize(&bytes(w[0])?)?;
            let first = by_id(&w[2..2 + others], dkg::round1::Package::deserialize)?;
            let second = by_id(&w[2 + others..], dkg::round2::Package::deserialize)?;
            keys(dkg::part3(&secret, &first, &second)?)
        }
        "refresh3" => {
            let others = number(w[3])? as usize;
            let secret = dkg::round2::SecretPackage::deserialize(&bytes(w[0])?)?;
            let public = PublicKeyPackage::deserialize(&bytes(w[1])?)?;
            let key = KeyPackage::deserialize(&bytes(w[2])?)?;
            let first = by_id(&w[4..4 + others], dkg::round1::Package::deserialize)?;
            let second = by_id(&w[4 + others..], dkg::round2::Package::deserialize)?;
            keys(refresh::refresh_dkg_shares(&secret, &first, &second, public, key)?)
        }
        _ => Err(Failure::from("no such step")),
    }
}

fn keys((key, public): (KeyPackage, PublicKeyPackage)) -> Answer {
    Ok(vec![hex::encode(key.serialize()?), hex::encode(public.serialize()?)])
}

fn sign(step: &str, w: &[&str]) -> Answer {
    match step {
        "commit" => {
            let key = KeyPackage::deserialize(&bytes(w[0])?)?;
            let (nonces, commitments) = round1::commit(key.signing_share(), &mut OsRng);
            Ok(vec![hex::encode(nonces.serialize()?), hex::encode(commitments.serialize()?)])
        }
        "package" => {
            let commitments = by_id(&w[1..], round1::SigningCommitments::deserialize)?;
            Ok(vec![hex::encode(SigningPackage::new(commitments, &bytes(w[0])?).serialize()?)])
        }
        "share" => {
            let package = SigningPackage::deserialize(&bytes(w[0])?)?;
            let nonces = round1::SigningNonces::deserialize(&bytes(w[1])?)?;
            let key = KeyPackage::deserialize(&bytes(w[2])?)?;
            Ok(vec![hex::encode(round2::sign(&package, &nonces, &key)?.serialize())])
        }
        "aggregate" => {
            let package = SigningPackage::deserialize(&bytes(w[0])?)?;
            let public = PublicKeyPackage::deserialize(&bytes(w[1])?)?;
            let shares = by_id(&w[2..], round2::SignatureShare::deserialize)?;
            Ok(vec![hex::encode(aggregate(&package, &shares, &public)?.serialize()?)])
        }
        "verify" => {
            let key = VerifyingKey::deserialize(&bytes(w[0])?)?;
            key.verify(&bytes(w[1])?, &Signature::deserialize(&bytes(w[2])?)?)?;
            Ok(vec![])
        }
        _ => Err(Failure::from("no such step")),
    }
}

fn repair(step: &str, w: &[&str]) -> Answer {
    match step {
        "1" => {
            let key = KeyPackage::deserialize(&bytes(w[0])?)?;
            let helpers = w[2..].iter().map(|word| id(word)).collect::<Result<Vec<_>, _>>()?;
            let deltas = repairable::repair_share_part1::<Ed25519Sha512, _>(&helpers, &key, &mut OsRng, id(w[1])?)?;
            Ok(deltas.iter().map(|(i, delta)| entry(i, &delta.serialize())).collect())
        }
        "2" => {
            let mut deltas = Vec::new();
            for word in w {
                deltas.push(repairable::Delta::deserialize(&bytes(word)?)?);
            }
            Ok(vec![hex::encode(repairable::repair_share_part2(&deltas).serialize())])
        }
        "3" => {
            let public = PublicKeyPackage::deserialize(&bytes(w[1])?)?;
            let mut sigmas = Vec::new();
            for word in &w[2..] {
                sigmas.push(repairable::Sigma::deserialize(&bytes(word)?)?);
            }
            Ok(vec![hex::encode(repairable::repair_share_part3(&sigmas, id(w[0])?, &public)?.serialize()?)])
        }
        _ => Err(Failure::from("no such step")),
    }
}

fn answer(line: &str) -> Answer {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["make", step, rest @ ..] => make(step, rest),
        ["sign", step, rest @ ..] => sign(step, rest),
        ["repair", step, rest @ ..] => repair(step, rest),
        ["speed", t, n, rounds] => Ok(speed::measure(number(t)?, number(n)?, number(rounds)?)?),
        _ => Err(Failure::from("no such command")),
    }
}

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        match answer(&line?) {
            Ok(words) => writeln!(out, "ok {}", words.join(" "))?,
            Err(Failure(why)) => writeln!(out, "no {why}")?,
        }
        out.flush()?;
    }
    Ok(())
}
