//! The `Link` header (RFC 8288): several lines, or several links in one.

/// The target of the first link whose `rel` has this word; lines that are no
/// links are passed over.
pub fn target<'a>(lines: impl Iterator<Item = &'a str>, rel: &str) -> Option<String> {
    lines.flat_map(|line| links(line).unwrap_or_default()).find_map(|link| link.target_of(rel))
}

/// The target of the first link whose `rel` has this word.
///
/// # Errors
/// In words, when a line is not a list of links: the wanted one may be in it.
pub fn strict_target(lines: &[&str], rel: &str) -> Result<Option<String>, String> {
    let mut found = None;
    for line in lines {
        for link in links(line)? {
            found = found.or_else(|| link.target_of(rel));
        }
    }
    Ok(found)
}

struct Link<'a> {
    target: &'a str,
    parameters: &'a str,
}

impl Link<'_> {
    fn target_of(&self, rel: &str) -> Option<String> {
        let has_it = parameters(self.parameters).any(|(name, value)| {
            name.eq_ignore_ascii_case("rel")
                && value.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(rel))
        });
        has_it.then(|| self.target.to_owned())
    }
}

fn links(line: &str) -> Result<Vec<Link<'_>>, String> {
    let mut links = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let link = rest.strip_prefix('<').and_then(|after| after.split_once('>'));
        let (target, after) = link.ok_or_else(|| "a link has no `<…>`".to_owned())?;
        let end = unquoted(after, ',').unwrap_or(after.len());
        let (parameters, after) = after.split_at(end);
        links.push(Link { target: target.trim(), parameters });
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Ok(links)
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(';')?;
        let end = unquoted(after, ';').unwrap_or(after.len());
        let (parameter, after) = after.split_at(end);
        rest = after;
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

/// Where `wanted` stands outside of quotes.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == wanted && !quoted).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    fn next(lines: &[&str]) -> Option<String> {
        super::strict_target(lines, "next").unwrap()
    }

    #[test]
    fn the_next_link_is_found_in_either_form() {
        let own_lines = [
            "<https://a/users?limit=2>; rel=\"self\"",
            "<https://a/users?after=x,y>; rel=\"next\"",
        ];
        assert_eq!(next(&own_lines).as_deref(), Some("https://a/users?after=x,y"));
        let one_list = ["<https://a?page=1>; rel=\"first\", \
             <https://a?page=3>; title=\"a, b; rel=next\"; rel=\"next last\""];
        assert_eq!(next(&one_list).as_deref(), Some("https://a?page=3"));
        assert_eq!(next(&["<https://a?page=3>; rel=next"]).as_deref(), Some("https://a?page=3"));
    }

    #[test]
    fn other_relations_are_no_end_and_no_next() {
        let other = ["<https://a>; rel=\"deprecation\", <https://b>; rel=\"alternate\""];
        assert_eq!(next(&other), None);
        assert_eq!(next(&["<https://a>; title=\"rel=next\""]), None);
        assert_eq!(next(&["", " , "]), None);
    }

    #[test]
    fn r1_a_broken_link_is_not_the_end_of_the_list() {
        for broken in ["<broken; rel=\"next\"", "rel=\"next\"", "<https://a>; rel=self, b"] {
            super::strict_target(&[broken], "next").unwrap_err();
        }
    }
}
