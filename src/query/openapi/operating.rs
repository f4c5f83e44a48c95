//! Directories and webhooks, and what operators ask of them.

use utoipa::openapi::path::Parameter;

use super::operation::Operation;
use super::parameters::{cursor, flag, in_path, limit, query, required, seq};
use super::problems::{
    DIRECTORY_FAILED, GONE, NOT_LOGGED, NOT_READ_AGAIN, NOTHING_HELD, OTHER_HOLD, PLAN_GONE,
    REFUSED, STORE_UNAVAILABLE, UNKNOWN, WEBHOOK_FAILED,
};
use crate::query::{changes, directories, webhooks};

/// The name of this part.
pub const TAG: &str = "operate";

/// The operations of this part.
pub fn operations() -> Vec<Operation> {
    let all = of_directories().into_iter().chain(holds()).chain(of_webhooks()).chain(orders());
    all.map(|operation| operation.tag(TAG)).collect()
}

fn of_directories() -> [Operation; 4] {
    [
        Operation::get("/v1/directories", "listDirectories", "How each directory fares")
            .answers::<directories::ListBody<'static>>(200, "All of them."),
        Operation::get("/v1/directories/{name}", "getDirectory", "How one directory fares")
            .with([directory()])
            .answers::<directories::OneBody<'static>>(200, "The directory.")
            .may(&[UNKNOWN]),
        Operation::post("/v1/directories/{name}/sync", "syncDirectory", "Read a directory now")
            .with([directory()])
            .answers::<directories::SyncBody<'static>>(202, "The poll is on its way.")
            .may(&[UNKNOWN, DIRECTORY_FAILED]),
        Operation::post("/v1/directories/{name}/plan", "planDirectory", "What a poll would change")
            .describe(
                "Reads the directory and changes nothing. Further pages are of the same plan.",
            )
            .with([directory(), limit(), cursor()])
            .answers::<changes::PlanBody<'static>>(200, "A page, what would be held first.")
            .may(&[UNKNOWN, PLAN_GONE, NOT_READ_AGAIN, DIRECTORY_FAILED]),
    ]
}

fn holds() -> [Operation; 3] {
    let id = || in_path("id", "The id of exactly the set that is held.");
    let decided = [UNKNOWN, NOTHING_HELD, OTHER_HOLD, NOT_READ_AGAIN, DIRECTORY_FAILED];
    let path = "/v1/directories/{name}/hold";
    let approve = "/v1/directories/{name}/hold/{id}/approve";
    let reject = "/v1/directories/{name}/hold/{id}/reject";
    [
        Operation::get(path, "getHold", "What a directory holds for a person to decide")
            .with([directory(), limit(), cursor()])
            .answers::<changes::HeldBody<'static>>(200, "A page of the held changes.")
            .may(&[UNKNOWN, NOTHING_HELD, OTHER_HOLD, PLAN_GONE, DIRECTORY_FAILED]),
        Operation::post(approve, "approveHold", "Let a held set through")
            .with([directory(), id()])
            .answers::<directories::DecisionBody<'static>>(200, "It is applied.")
            .may(&decided),
        Operation::post(reject, "rejectHold", "Keep a held set out")
            .with([directory(), id()])
            .answers::<directories::DecisionBody<'static>>(200, "It stays out.")
            .may(&decided),
    ]
}

fn of_webhooks() -> [Operation; 3] {
    [
        Operation::get("/v1/webhooks", "listWebhooks", "How each webhook fares")
            .answers::<webhooks::ListBody<'static>>(200, "All of them."),
        Operation::get("/v1/webhooks/{name}", "getWebhook", "How one webhook fares")
            .with([webhook()])
            .answers::<webhooks::OneBody<'static>>(200, "The webhook.")
            .may(&[UNKNOWN]),
        Operation::get("/v1/webhooks/{name}/deliveries", "listDeliveries", "What was sent to it")
            .with([webhook(), limit()])
            .with([query("cursor", "`next_cursor` of the page before, unchanged.", seq())])
            .answers::<webhooks::PageBody<'static>>(200, "A page, the newest first.")
            .may(&[UNKNOWN, NOT_LOGGED, STORE_UNAVAILABLE]),
    ]
}

fn orders() -> [Operation; 5] {
    let order = |path, id, summary, what| {
        Operation::post(path, id, summary)
            .with([webhook()])
            .answers::<webhooks::DoneBody<'static>>(200, what)
            .may(&[UNKNOWN, REFUSED, WEBHOOK_FAILED])
    };
    let path = "/v1/webhooks/{name}/pause";
    let pause = order(path, "pauseWebhook", "Send nothing more for now", "It is paused.");
    let path = "/v1/webhooks/{name}/resume";
    let resume = order(path, "resumeWebhook", "Send again", "It is sent to again.").with([query(
        "skip",
        "Leave out what came up meanwhile.",
        flag(),
    )]);
    let path = "/v1/webhooks/{name}/replay";
    let replay = order(path, "replayWebhook", "Send events once more", "They are on their way.")
        .with([
            required("from", "The first seq.", seq()),
            query("to", "The last seq; without it, the last that was delivered.", seq()),
        ])
        .may(&[GONE]);
    let path = "/v1/webhooks/{name}/test";
    let test = order(path, "testWebhook", "Send a test", "What became of it, accepted or not.");
    let clear = Operation::post("/v1/webhooks/{name}/clear", "clearDeliveries", "Empty its log")
        .with([webhook()])
        .answers::<webhooks::ClearedBody<'static>>(200, "It is empty.")
        .may(&[UNKNOWN, REFUSED, WEBHOOK_FAILED]);
    [pause, resume, replay, test, clear]
}

fn directory() -> Parameter {
    in_path("name", "The name of the directory in the configuration.")
}

fn webhook() -> Parameter {
    in_path("name", "The name of the webhook in the configuration.")
}
