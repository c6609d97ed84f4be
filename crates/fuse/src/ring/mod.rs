//! FUSE over io_uring (Linux has it since 6.14, and it is used from 6.18 on; `fuse.enable_uring`).
//!
//! The kernel has a queue for each possible CPU, and asks on that of the CPU on which a program asked. A queue has
//! entries, each with a buffer for headers and one for data, and a command of io_uring that waits: the kernel fills the
//! buffers and completes the command; the answer is written to the same buffers, and the next command both hands it
//! over and waits for the next request. One system call a request, in place of two, and no other processor is woken.
//!
//! | file | what |
//! |---|---|
//! | `plan` | which thread serves which queues |
//! | `command` | what the kernel is told |
//! | `entry` | buffers: ours, or the kernel's and nobody else's |
//! | `worker` | one thread's io_uring and its entries |
//!
//! Every possible CPU's queue must have an entry before the kernel uses any. An entry is one thread's, so a queue's
//! requests go on side by side as far as it has threads of its own.

mod command;
mod entry;
mod plan;
mod worker;

use std::io;

pub(crate) use worker::Worker;

/// All that can fail: as many io_urings as there are to be threads, with their buffers for data of so many bytes.
pub(crate) fn prepare(threads: usize, data_len: usize) -> io::Result<Vec<Worker>> {
    let (possible, online) = plan::processors()?;
    worker::probe()?;
    plan::queues(threads, possible, &online)
        .into_iter()
        .map(|queues| Worker::new(&queues, data_len))
        .collect()
}
