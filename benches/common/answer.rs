//! Where an answer over a socket begins and ends.

/// Bytes of the head, and of the body that follows; `None` before the head is whole.
pub fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let name = b"content-length: ";
    let at =
        bytes[..head].windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?
            + name.len();
    let digits = bytes[at..head].iter().take_while(|byte| byte.is_ascii_digit());
    Some((head, digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))))
}
