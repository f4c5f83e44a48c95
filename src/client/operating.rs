//! Directories and webhooks, and what operators ask of them.

use super::{
    Answer, ChangeRow, Client, ClientError, Decided, Directories, Directory, Pages, Query,
    SyncRequested, Webhook, WebhookCleared, WebhookDone, Webhooks,
};

impl Client {
    /// How each directory fares.
    ///
    /// # Errors
    /// [`ClientError`], as for all of these.
    pub async fn directories(&self) -> Result<Answer<Directories>, ClientError> {
        self.get_as(Query::of(&["directories"])).await
    }

    /// How one directory fares.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn directory(&self, name: &str) -> Result<Answer<Directory>, ClientError> {
        self.get_as(Query::of(&["directories", name])).await
    }

    /// Asks for a directory to be read now; returns when that is on its way.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sync(&self, name: &str) -> Result<Answer<SyncRequested>, ClientError> {
        self.post_as(Query::of(&["directories", name, "sync"])).await
    }

    /// What a poll would change. The first page takes as long as a crawl.
    pub fn plan(&self, name: &str) -> Pages<ChangeRow> {
        self.rows(Query::of(&["directories", name, "plan"]), "changes").posted()
    }

    /// What a directory holds for a person to decide.
    pub fn hold(&self, name: &str) -> Pages<ChangeRow> {
        self.rows(Query::of(&["directories", name, "hold"]), "changes")
    }

    /// Lets exactly the held set of this id through.
    ///
    /// # Errors
    /// [`ClientError`]; `other-hold` when it is another one by now.
    pub async fn approve(&self, name: &str, id: &str) -> Result<Answer<Decided>, ClientError> {
        self.post_as(Query::of(&["directories", name, "hold", id, "approve"])).await
    }

    /// Keeps exactly the held set of this id out.
    ///
    /// # Errors
    /// As for [`Client::approve`].
    pub async fn reject(&self, name: &str, id: &str) -> Result<Answer<Decided>, ClientError> {
        self.post_as(Query::of(&["directories", name, "hold", id, "reject"])).await
    }

    /// How each webhook fares.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhooks(&self) -> Result<Answer<Webhooks>, ClientError> {
        self.get_as(Query::of(&["webhooks"])).await
    }

    /// How one webhook fares.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn webhook(&self, name: &str) -> Result<Answer<Webhook>, ClientError> {
        self.get_as(Query::of(&["webhooks", name])).await
    }

    /// Sends a webhook nothing more for now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pause_webhook(&self, name: &str) -> Result<Answer<WebhookDone>, ClientError> {
        self.post_as(Query::of(&["webhooks", name, "pause"])).await
    }

    /// Sends to it again; what came up meanwhile is left out with `skip`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume_webhook(
        &self,
        name: &str,
        skip: bool,
    ) -> Result<Answer<WebhookDone>, ClientError> {
        self.post_as(Query::of(&["webhooks", name, "resume"]).with("skip", skip)).await
    }

    /// Sends it events once more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn replay_webhook(
        &self,
        name: &str,
        from: u64,
        to: Option<u64>,
    ) -> Result<Answer<WebhookDone>, ClientError> {
        let query = Query::of(&["webhooks", name, "replay"]);
        self.post_as(query.with("from", from).with_some("to", to)).await
    }

    /// Sends it a test; one that is not accepted is an answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn test_webhook(&self, name: &str) -> Result<Answer<WebhookDone>, ClientError> {
        self.post_as(Query::of(&["webhooks", name, "test"])).await
    }

    /// Empties its delivery log.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn clear_webhook(&self, name: &str) -> Result<Answer<WebhookCleared>, ClientError> {
        self.post_as(Query::of(&["webhooks", name, "clear"])).await
    }
}
