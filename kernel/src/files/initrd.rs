//! The files: an archive in memory that the machine was started with (cpio).

use crate::errno::Errno;
use crate::lock::Guarded;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use linux_raw_sys::general::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};

/// A file, directory or symbolic link.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub inode: usize,
    /// Its absolute path.
    pub path: String,
    /// Its kind and permissions.
    pub mode: u32,
    bytes: &'static [u8],
}

impl Node {
    fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.is(S_IFDIR)
    }

    /// The bytes of a file.
    pub fn contents(&self) -> Option<&'static [u8]> {
        self.is(S_IFREG).then_some(self.bytes)
    }

    /// The bytes of a file that may be executed.
    pub fn program(&self) -> Option<&'static [u8]> {
        self.contents().filter(|_| self.mode & 0o111 != 0)
    }

    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

type Nodes = BTreeMap<String, Node>;

/// All files by path, made once and never changed.
static NODES: Guarded<Option<&'static Nodes>> = Guarded::new(None);

/// How many symbolic links a path may lead through.
const MOST_LINKS: usize = 40;

/// Reads the archive.
pub fn initialise(archive: &'static [u8]) {
    let mut nodes = Nodes::new();
    let mut add = |path: String, mode: u32, bytes: &'static [u8]| {
        let inode = nodes.len() + 1;
        let node = Node {
            inode,
            path: path.clone(),
            mode,
            bytes,
        };
        nodes.insert(path, node);
    };
    add("/".into(), S_IFDIR | 0o755, &[]);
    for entry in cpio_reader::iter_files(archive) {
        add(
            absolute("/", entry.name()),
            entry.mode().bits(),
            entry.file(),
        );
    }
    *NODES.get() = Some(Box::leak(Box::new(nodes)));
}

fn nodes() -> &'static Nodes {
    NODES.get().expect("read at boot")
}

/// A path in a directory, or an absolute one, without `.`, `..` and double slashes.
pub fn absolute(directory: &str, path: &str) -> String {
    let before = if path.starts_with('/') { "" } else { directory };
    let mut absolute = String::new();
    for part in before.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => absolute.truncate(absolute.rfind('/').unwrap_or(0)),
            part => {
                absolute.push('/');
                absolute.push_str(part);
            }
        }
    }
    if absolute.is_empty() {
        absolute.push('/');
    }
    absolute
}

/// What a path leads to, through symbolic links.
pub fn find(directory: &str, path: &str) -> Result<&'static Node, Errno> {
    let mut path = absolute(directory, path);
    for _ in 0..MOST_LINKS {
        let Some((link, behind)) = first_link(&path) else {
            let node = nodes().get(&path).ok_or(Errno::NOT_FOUND)?;
            return Ok(node);
        };
        let target = link_target(link)?;
        let parent = &link.path[..link.path.rfind('/').unwrap_or(0)];
        path = absolute(&absolute(parent, target), behind);
    }
    Err(Errno::LOOP)
}

/// What a path leads to, a symbolic link itself if it ends in one.
pub fn find_link(directory: &str, path: &str) -> Result<&'static Node, Errno> {
    let path = absolute(directory, path);
    match nodes().get(&path) {
        Some(node) => Ok(node),
        None => find("/", &path),
    }
}

/// The target of the symbolic link at an absolute path.
pub fn link(path: &str) -> Result<String, Errno> {
    link_target(find_link("/", path)?).map(ToString::to_string)
}

fn link_target(node: &'static Node) -> Result<&'static str, Errno> {
    if !node.is(S_IFLNK) {
        return Err(Errno::INVALID);
    }
    core::str::from_utf8(node.bytes).map_err(|_| Errno::INVALID)
}

/// The first symbolic link on a path, and what is behind it, a relative path.
fn first_link(path: &str) -> Option<(&'static Node, &str)> {
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .skip(1)
        .chain([path.len()]);
    ends.filter_map(|end| {
        let node = nodes().get(&path[..end])?;
        node.is(S_IFLNK)
            .then(|| (node, path[end..].trim_start_matches('/')))
    })
    .next()
}

/// What is in a directory: names and nodes.
pub fn entries(directory: &Node) -> impl Iterator<Item = (&'static str, &'static Node)> {
    let mut prefix = directory.path.clone();
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    let all = nodes().range(prefix.clone()..);
    let below =
        all.map_while(move |(path, node)| Some((path.strip_prefix(prefix.as_str())?, node)));
    below.filter(|(name, _)| !name.is_empty() && !name.contains('/'))
}
