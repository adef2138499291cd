//! Bytes of HTTP/2, as no client writes them.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// What a connection begins with: the preface and an empty SETTINGS frame.
pub(super) const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame
}

/// Reads a frame and gives what must be answered so that the connection stays. None: it is over.
pub(super) async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).ok()?];
    stream.read_exact(&mut payload).await.ok()?;
    if head[3] != PING || head[4] == ACK {
        return Some(Vec::new());
    }
    let mut answer = frame(PING, ACK, 0, payload.len());
    answer.extend(payload);
    Some(answer)
}

/// A call's headers, in HPACK without its table.
fn call() -> Vec<u8> {
    const PATH: &[u8] = b"/stockalert.v1.QuoteService/GetLatestQuote";
    const TYPE: &[u8] = b"application/grpc";
    const TOKEN: &[u8] = b"Bearer 0123456789abcdef0123456789abcdef0123456789a";
    // POST, http, and by their indexes :path, :authority, content-type and authorization.
    let mut block = vec![0x83, 0x86, 0x04, u8::try_from(PATH.len()).unwrap()];
    block.extend(PATH);
    block.extend(b"\x01\x01a\x0f\x10");
    block.push(u8::try_from(TYPE.len()).unwrap());
    block.extend(TYPE);
    block.extend(b"\x0f\x08");
    block.push(u8::try_from(TOKEN.len()).unwrap());
    block.extend(TOKEN);
    block
}

/// A call that is begun and given up.
pub(super) fn reset_call(stream: u32) -> Vec<u8> {
    let call = call();
    let mut bytes = frame(HEADERS, END_HEADERS, stream, call.len());
    bytes.extend(call);
    bytes.extend(frame(RST_STREAM, 0, stream, 4));
    bytes.extend(CANCEL.to_be_bytes());
    bytes
}

/// Headers in one frame that is never complete: it is longer than what there is.
pub(super) fn endless_headers() -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, 1, 16_000);
    bytes.extend(call());
    bytes
}

/// Headers that other frames continue, none of which is the last.
pub(super) fn unended_headers() -> Vec<u8> {
    let call = call();
    let mut bytes = frame(HEADERS, 0, 1, call.len());
    bytes.extend(call);
    bytes
}

/// One byte more of headers: as a length, of a name or value of 97 such bytes; as a field, one that has a name known by its
/// number.
pub(super) const BYTE: &[u8] = b"a";

/// That byte in a frame of its own.
pub(super) fn continuation() -> Vec<u8> {
    let mut bytes = frame(CONTINUATION, 0, 1, BYTE.len());
    bytes.extend(BYTE);
    bytes
}
