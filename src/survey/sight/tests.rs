//! The table of cases that all readers of port files share, in any language.

use std::io;

use serde_json::Value;

use super::{System, evidence_in};
use crate::model::{Instance, Stale, Timestamp, Verdict};
use crate::os::process::Life;
use crate::os::sockets::{Listening, Owned};
use crate::portfile::{PortFile, SocketEvidence, connect_host, judge, loopback_url};

/// The system as a case describes it; `tests/cases/README.md` says how.
struct World<'a> {
    table: &'a Value,
    case: &'a Value,
}

impl World<'_> {
    fn told(&self, name: &str) -> &Value {
        self.case["world"].get(name).unwrap_or(&self.table["world"][name])
    }

    fn each<'b>(&'b self, name: &str) -> impl Iterator<Item = &'b Value> {
        self.told(name).as_array().into_iter().flatten()
    }

    fn process(&self, pid: u32) -> Option<&Value> {
        self.each("processes").find(|process| process["pid"] == pid)
    }

    fn is_readable(&self, pid: u32) -> bool {
        self.process(pid).is_some_and(|process| process["unreadable"] != true)
    }

    fn holds(&self, pid: u32, socket: &Listening) -> bool {
        let told = &self.told("sockets")[usize::try_from(socket.id).unwrap()];
        told["held_by"].as_array().unwrap().iter().any(|holder| *holder == pid)
    }
}

fn number<N: TryFrom<u64>>(value: &Value) -> Option<N> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    N::try_from(number).ok()
}

impl System for World<'_> {
    fn boot_id(&self) -> String {
        self.told("boot").as_str().unwrap().to_owned()
    }

    fn pid_namespace(&self) -> Option<u64> {
        number(self.told("namespace"))
    }

    fn own_pid(&self) -> u32 {
        number(self.told("me")).unwrap()
    }

    fn look(&self, pid: u32) -> io::Result<Life> {
        let Some(process) = self.process(pid) else { return Ok(Life::Gone) };
        match process["is"].as_str() {
            Some("thread") => Ok(Life::Thread),
            Some("zombie") => Ok(Life::Zombie),
            Some(how) => Err(io::Error::other(how)),
            None => Ok(Life::Alive(Instance {
                pid,
                start: number(&process["start"]).unwrap_or(700),
                boot_id: self.boot_id(),
                pidfd_inode: number(&process["inode"]),
                pid_ns: self.pid_namespace(),
            })),
        }
    }

    fn started_at(&self, instance: &Instance) -> Option<Timestamp> {
        Some(Timestamp(number(&self.process(instance.pid)?["began"]).unwrap_or(5000)))
    }

    fn inner_pid(&self, pid: u32) -> Option<u32> {
        number(&self.process(pid)?["inner"])
    }

    fn listening_on(&self, port: u16) -> io::Result<Vec<Listening>> {
        if let Some(why) = self.told("unseen").as_str() {
            return Err(io::Error::other(why));
        }
        let listening = |(id, told): (usize, &Value)| Listening {
            address: told["address"].as_str().unwrap().parse().unwrap(),
            port: number(&told["port"]).unwrap(),
            id: id as u64,
            uid: 0,
        };
        Ok(self.each("sockets").enumerate().map(listening).filter(|socket| socket.port == port).collect())
    }

    fn owned_by(&self, pids: &[u32], sockets: &[Listening]) -> Owned {
        let readable = |pid: &&u32| self.is_readable(**pid);
        let owner = |socket: &Listening| pids.iter().filter(readable).find(|pid| self.holds(**pid, socket));
        Owned {
            sockets: sockets.iter().filter_map(|socket| Some((*socket, *owner(socket)?))).collect(),
            unreadable: pids.iter().copied().find(|pid| !self.is_readable(*pid)),
        }
    }

    fn descendants(&self, pid: u32) -> Vec<u32> {
        let mut found = vec![pid];
        let mut next = 0;
        while next < found.len() {
            let parent = found[next];
            let children = self.each("processes").filter(|process| process["parent"] == parent);
            found.extend(children.filter_map(|process| number::<u32>(&process["pid"])));
            next += 1;
        }
        found.remove(0);
        found
    }

    fn holder_of(&self, socket: &Listening) -> Option<(u32, String)> {
        let all = self.each("processes").filter_map(|process| number::<u32>(&process["pid"]));
        let pid = all.filter(|pid| self.is_readable(*pid) && self.holds(*pid, socket)).min()?;
        Some((pid, self.process(pid)?["command"].as_str().unwrap_or("?").to_owned()))
    }
}

fn bytes_of(case: &Value) -> Vec<u8> {
    if let Some(hex) = case["hex"].as_str() {
        return (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    }
    if let Some(parts) = case["parts"].as_array() {
        let repeated = |part: &Value| part[0].as_str().unwrap().repeat(number(&part[1]).unwrap());
        return parts.iter().map(repeated).collect::<String>().into_bytes();
    }
    case["text"].as_str().map_or_else(|| case["file"].to_string(), str::to_owned).into_bytes()
}

fn check(table: &Value, case: &Value) -> Result<(), String> {
    let (verdict, sockets) = match PortFile::parse(&bytes_of(case)) {
        Ok(record) => {
            let written_at = Timestamp(number(&case["written_at"]).unwrap_or(10_000));
            let evidence = evidence_in(&World { table, case }, &record, Some(written_at));
            (judge(&record, &evidence), evidence.sockets)
        }
        Err(why) => (Verdict::Stale(Stale::Invalid(why.to_string())), SocketEvidence::Nobody),
    };
    let reason = verdict.reason();
    let is_reason = case["reason_has"].as_str().map_or_else(
        || reason.as_deref() == case["reason"].as_str(),
        |part| reason.as_ref().is_some_and(|reason| reason.contains(part)),
    );
    let at = match &sockets {
        SocketEvidence::Tree(holder) if verdict == Verdict::Live => Some(holder),
        _ => None,
    };
    let is_there = at.map(|holder| holder.owner.pid) == number(&case["pid"])
        && at.map(|holder| holder.address) == case["at"].as_str().map(|address| address.parse().unwrap())
        && at.and_then(|holder| Some(loopback_url(connect_host(holder.address)?, holder.port, "/"))).as_deref()
            == case["url"].as_str();
    let is_right = case["verdict"] == verdict.word() && is_reason && is_there;
    is_right.then_some(()).ok_or_else(|| format!("{}: {verdict}, {at:?}", case["it"]))
}

#[test]
fn every_case_of_the_common_table_is_judged_as_it_says() {
    let table: Value = serde_json::from_str(include_str!("../../../tests/cases/portfile.json")).unwrap();
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() > 90, "only {} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(&table, case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
