//! Texts between the two processes, over a pair of sockets that keeps them apart; a descriptor may come with each.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// No text is longer, in bytes.
const TEXT_LEN_MAX: usize = 4096;

/// This process's end, and the other's.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

pub(super) fn send(
    socket: impl AsFd,
    text: &str,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = &text.as_bytes()[..text.len().min(TEXT_LEN_MAX)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    // Who reads it no more is told by this and not by a signal.
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags).map(drop)
    })?;
    Ok(())
}

/// The next text; `None` when the other process has gone.
pub(super) fn receive(socket: impl AsFd) -> io::Result<Option<(String, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; TEXT_LEN_MAX];
    let received = rustix::io::retry_on_intr(|| {
        let mut buffers = [IoSliceMut::new(&mut bytes)];
        recvmsg(&socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let len = match received {
        Ok(received) => received.bytes,
        Err(rustix::io::Errno::CONNRESET) => 0,
        Err(error) => return Err(error.into()),
    };
    if len == 0 {
        return Ok(None);
    }
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
    Ok(Some((text, descriptor)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn texts_stay_apart_and_a_descriptor_comes_with_its_own() {
        let (ours, theirs) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"seen").unwrap();
        file.rewind().unwrap();
        send(&ours, "one", None).unwrap();
        send(&ours, "two", Some(file.as_fd())).unwrap();
        drop(ours);
        let (text, descriptor) = receive(&theirs).unwrap().unwrap();
        assert_eq!((text.as_str(), descriptor.is_none()), ("one", true));
        let (text, descriptor) = receive(&theirs).unwrap().unwrap();
        let mut seen = String::new();
        let mut file = std::fs::File::from(descriptor.unwrap());
        file.read_to_string(&mut seen).unwrap();
        assert_eq!((text.as_str(), seen.as_str()), ("two", "seen"));
        assert!(receive(&theirs).unwrap().is_none());
        assert!(send(&theirs, "three", None).is_err());
    }
}
