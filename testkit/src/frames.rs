//! Frames of HTTP/2, for clients that send what no library would.

/// What a client sends first: the preface, and settings that change nothing.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `GET`, `http` and `/` of the static table of HPACK.
pub const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84];
/// Flag: this is the last frame of its stream.
pub const END_STREAM: u8 = 1;
/// Flag: the head ends here.
pub const END_HEADERS: u8 = 4;
/// A part of a body.
pub const DATA: u8 = 0;
/// The begin of a head.
pub const HEADERS: u8 = 1;
/// What nobody heeds any more.
pub const PRIORITY: u8 = 2;
/// Takes a stream back.
pub const RESET: u8 = 3;
/// How the sender wants to be treated.
pub const SETTINGS: u8 = 4;
/// Wants an answer.
pub const PING: u8 = 6;
/// The connection ends.
pub const GO_AWAY: u8 = 7;
/// More may be sent.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a head.
pub const CONTINUATION: u8 = 9;

/// One frame; `payload` must be shorter than 2^24 bytes.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header field in plain text that the other side does not remember.
#[must_use]
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        match text.len() {
            len @ ..127 => field.extend(u8::try_from(len)),
            len => {
                field.push(127);
                let mut rest = len - 127;
                while rest >= 128 {
                    field.extend(u8::try_from(rest % 128 + 128));
                    rest /= 128;
                }
                field.extend(u8::try_from(rest));
            }
        }
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// A whole request without a body. `method` is 2 for `GET`, 3 for `POST` (the static table).
#[must_use]
pub fn request(stream: u32, method: u8, target: &str) -> Vec<u8> {
    let block = [&[0x80 | method, 0x86][..], &field(":path", target)].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// Why the sender of `frames` ended the connection, if it did: the code of the last `GOAWAY`.
#[must_use]
pub fn reason(mut frames: &[u8]) -> Option<u32> {
    let mut reason = None;
    while let Some(head) = frames.first_chunk::<9>() {
        let [high, middle, low] = [head[0], head[1], head[2]].map(usize::from);
        let whole = 9 + (high << 16 | middle << 8 | low);
        let Some(frame) = frames.get(..whole) else { break };
        if let (GO_AWAY, Some(code)) = (head[3], frame.get(13..17)) {
            reason = code.try_into().ok().map(u32::from_be_bytes);
        }
        frames = &frames[whole..];
    }
    reason
}
