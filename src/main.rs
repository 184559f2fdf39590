//! Entry point of the `colony-gateway` binary.

fn main() {}
