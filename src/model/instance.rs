//! One life of one process, told apart from every other that has had or will have its number.

use serde::{Deserialize, Serialize};

/// A process's identity. The number alone is reused; together with the start token and the boot it is not.
///
/// The start token is 10 ms coarse on Linux (field 22 of `/proc/PID/stat`), 1 µs on macOS and 100 ns on Windows; the
/// inode of a pidfd (Linux ≥ 6.9) is unique per boot and settles what the coarse token leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instance {
    /// The process's number.
    pub pid: u32,
    /// The kernel's start token, in the system's own unit, counted since boot where the system does.
    pub start: u64,
    /// The boot that `start` and `pidfd_inode` belong to.
    pub boot_id: String,
    /// Inode number of a pidfd, where the kernel gives each process its own.
    pub pidfd_inode: Option<u64>,
    /// The PID namespace that `pid` belongs to, where the system has such.
    pub pid_ns: Option<u64>,
}

/// The part of an [`Instance`] that a port file carries beside its `pid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceMark {
    /// See [`Instance::start`].
    pub start: u64,
    /// See [`Instance::boot_id`].
    pub boot_id: String,
    /// See [`Instance::pidfd_inode`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pidfd_inode: Option<u64>,
    /// See [`Instance::pid_ns`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_ns: Option<u64>,
}

impl Instance {
    /// True when both describe the same life: an inode decides where both have one of the same boot.
    pub fn is_same_life(&self, other: &Self) -> bool {
        self.pid == other.pid && self.mark().is_same_life(&other.mark())
    }

    /// The identity without the number.
    pub fn mark(&self) -> InstanceMark {
        let Self { start, pidfd_inode, pid_ns, .. } = *self;
        InstanceMark { start, boot_id: self.boot_id.clone(), pidfd_inode, pid_ns }
    }
}

impl InstanceMark {
    /// Puts the number back.
    pub fn with_pid(&self, pid: u32) -> Instance {
        let Self { start, pidfd_inode, pid_ns, .. } = *self;
        Instance { pid, start, boot_id: self.boot_id.clone(), pidfd_inode, pid_ns }
    }

    /// See [`Instance::is_same_life`]; the caller has compared the numbers.
    pub fn is_same_life(&self, other: &Self) -> bool {
        let inodes_agree = match (self.pidfd_inode, other.pidfd_inode) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.boot_id == other.boot_id && self.start == other.start && inodes_agree
    }
}

// In JSON an instance is flat: {"pid", "start", "boot_id", "pidfd_inode"}.
impl Serialize for Instance {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Flat { pid: self.pid, mark: self.mark() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flat = Flat::deserialize(deserializer)?;
        Ok(flat.mark.with_pid(flat.pid))
    }
}

#[derive(Serialize, Deserialize)]
struct Flat {
    pid: u32,
    #[serde(flatten)]
    mark: InstanceMark,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(start: u64, boot: &str, inode: Option<u64>) -> Instance {
        Instance { pid: 42, start, boot_id: boot.to_owned(), pidfd_inode: inode, pid_ns: None }
    }

    #[test]
    fn the_inode_tells_lives_of_one_tick_apart() {
        assert!(!instance(7, "b", Some(1)).is_same_life(&instance(7, "b", Some(2))));
        assert!(instance(7, "b", Some(1)).is_same_life(&instance(7, "b", None)));
        assert!(!instance(7, "b", Some(1)).is_same_life(&instance(7, "c", Some(1))));
        assert!(!instance(7, "b", None).is_same_life(&instance(8, "b", None)));
    }
}
