//! The words of problems, and what they mean. They do not change.

/// A word that a problem's `title` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    pub status: u16,
    pub name: &'static str,
    pub meaning: &'static str,
    /// A header that may come along, and what it says.
    pub header: Option<(&'static str, &'static str)>,
}

const RETRY_AFTER: (&str, &str) = ("Retry-After", "Seconds after which to ask again.");
const AUTHENTICATE: (&str, &str) = ("WWW-Authenticate", "`Bearer`.");

const fn word(status: u16, name: &'static str, meaning: &'static str) -> Word {
    Word { status, name, meaning, header: None }
}

impl Word {
    const fn with(self, header: (&'static str, &'static str)) -> Word {
        Word { header: Some(header), ..self }
    }
}

pub const BAD_REQUEST: Word = word(400, "bad-request", "the request itself is wrong");
pub const UNAUTHORIZED: Word =
    word(401, "unauthorized", "the bearer token is missing or wrong").with(AUTHENTICATE);
pub const FORBIDDEN: Word =
    word(403, "forbidden", "who asks lacks a permission: `permission` names it");
pub const UNKNOWN: Word = word(
    404,
    "unknown",
    "there is no such user, group, directory, pair or webhook; `unknown` says which",
);
pub const NOT_FOUND: Word = word(404, "not-found", "there is no such path");
pub const NOTHING_HELD: Word = word(404, "nothing-held", "the directory holds nothing");
pub const METHOD_NOT_ALLOWED: Word =
    word(405, "method-not-allowed", "the path takes other methods: `Allow` names them");
pub const SLOW: Word =
    word(408, "slow", "the request, or the reading of the answer, took too long");
pub const AMBIGUOUS: Word =
    word(409, "ambiguous", "the REF fits several objects: `candidates` are the first of them");
pub const OTHER_HOLD: Word =
    word(409, "other-hold", "another set is held by now: `held` is its id");
pub const NOT_READ_AGAIN: Word = word(
    409,
    "not-read-again",
    "the held set is known by its id only until the directory is read again",
);
pub const REFUSED: Word = word(409, "refused", "the webhook is not in a state for that");
pub const NOT_LOGGED: Word = word(409, "not-logged", "deliveries to the webhook are not logged");
pub const GONE: Word =
    word(410, "gone", "that is no longer kept: `oldest` is the first seq that is");
pub const PLAN_GONE: Word =
    word(410, "plan-gone", "the directory changed, or was planned anew, since the first page");
pub const TOO_LARGE: Word = word(413, "too-large", "the body is too long");
pub const NOT_GRPC: Word =
    word(415, "not-grpc", "Envoy's gRPC service was asked otherwise than by gRPC");
pub const MISDIRECTED: Word =
    word(421, "misdirected", "over TCP, the `Host` header must name a loopback address");
pub const INTERNAL: Word = word(500, "internal", "a fault of the daemon, told in its log");
pub const DIRECTORY_FAILED: Word = word(502, "failed", "the directory cannot be read");
pub const WEBHOOK_FAILED: Word = word(503, "failed", "the store failed: try again");
pub const STALE: Word = word(
    503,
    "stale",
    "the directory was never read, or is older than `max_age`: neither yes nor no",
)
.with(RETRY_AFTER);
pub const BUSY: Word = word(503, "busy", "too many snapshots are being read").with(RETRY_AFTER);
pub const STORE_UNAVAILABLE: Word =
    word(503, "store-unavailable", "the store cannot be read at present").with(RETRY_AFTER);
pub const NOT_READY: Word = word(503, "not-ready", "`directories` were not read yet");

/// What any request may be answered with.
pub const ALWAYS: [Word; 5] = [BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, MISDIRECTED, INTERNAL];

/// Of whatever resolves a REF.
pub const OF_REF: [Word; 5] = [UNKNOWN, AMBIGUOUS, GONE, STALE, STORE_UNAVAILABLE];

/// All of them.
pub const ALL: [Word; 25] = [
    BAD_REQUEST,
    UNAUTHORIZED,
    FORBIDDEN,
    UNKNOWN,
    NOT_FOUND,
    NOTHING_HELD,
    METHOD_NOT_ALLOWED,
    SLOW,
    AMBIGUOUS,
    OTHER_HOLD,
    NOT_READ_AGAIN,
    REFUSED,
    NOT_LOGGED,
    GONE,
    PLAN_GONE,
    TOO_LARGE,
    NOT_GRPC,
    MISDIRECTED,
    INTERNAL,
    DIRECTORY_FAILED,
    WEBHOOK_FAILED,
    STALE,
    BUSY,
    STORE_UNAVAILABLE,
    NOT_READY,
];
