//! The Colonies client against recorded calls of a real server and against servers that misbehave.

mod client;
mod rotation;
mod roundtrip;
mod scripted;
mod transcript;
