//! A network of its own for a process, with two lines to this machine, of which one can be cut: what is sent on it is then lost without
//! a word, as behind a router that died. Needs root and `ip`.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace. It is removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    lines: [Line; 2],
}

/// A network link between this machine and the namespace.
#[derive(Debug)]
struct Line {
    /// The end on this machine.
    device: String,
    here: Ipv4Addr,
    there: Ipv4Addr,
}

impl Namespace {
    /// Makes a namespace; `None` if this machine does not allow it.
    pub fn make() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id() % 0x000f_ffff * 8 + MADE.fetch_add(1, Ordering::Relaxed) % 8;
        let line = |end: u32| {
            // Each line has four addresses of 10.128.0.0/9 and uses the two in the middle.
            let first = (10 << 24) + (128 << 16) + ((number * 2 + end) % (1 << 20)) * 4;
            let device = format!("cg{number:x}{}", if end == 0 { 'a' } else { 'b' });
            Line { device, here: Ipv4Addr::from(first + 1), there: Ipv4Addr::from(first + 2) }
        };
        let namespace = Self { name: format!("cg{number:x}"), lines: [line(0), line(1)] };
        let name = namespace.name.as_str();
        let mut is_made = ip(&["netns", "add", name]) && ip(&["-n", name, "link", "set", "lo", "up"]);
        for Line { device, here, there } in &namespace.lines {
            let (inner, here, there) = (format!("{device}i"), format!("{here}/30"), format!("{there}/30"));
            is_made = is_made
                && ip(&["link", "add", device, "type", "veth", "peer", "name", &inner])
                && ip(&["link", "set", &inner, "netns", name])
                && ip(&["addr", "add", &here, "dev", device])
                && ip(&["link", "set", device, "up"])
                && ip(&["-n", name, "addr", "add", &there, "dev", &inner])
                && ip(&["-n", name, "link", "set", &inner, "up"]);
        }
        is_made.then_some(namespace)
    }

    /// The command that runs a program in the namespace.
    pub fn runner(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// Its address on the line that stays.
    pub fn address(&self) -> Ipv4Addr {
        self.lines[0].there
    }

    /// This machine's address on the line that stays.
    pub fn here(&self) -> Ipv4Addr {
        self.lines[0].here
    }

    /// This machine's address on the line that can be cut.
    pub fn here_behind_the_cut(&self) -> Ipv4Addr {
        self.lines[1].here
    }

    /// Cuts the line.
    pub fn cut(&self) {
        assert!(ip(&["link", "set", &self.lines[1].device, "down"]), "the line can be cut");
    }

    /// Mends it.
    pub fn mend(&self) {
        assert!(ip(&["link", "set", &self.lines[1].device, "up"]), "the line can be mended");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for line in &self.lines {
            ip(&["link", "del", &line.device]);
        }
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}
