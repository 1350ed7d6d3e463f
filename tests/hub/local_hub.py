"""A Hub in memory: what the Hugging Face Hub keeps, and the part of its protocol that its client needs to publish and
to load. It knows nothing of sockets; `tests.hub.server` puts it behind one, and breaks the line where a test asks."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
DATE = "2026-01-01T00:00:00.000Z"

# Patterns of paths as they come, still quoted: a branch may have a slash in its name.
API = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
PAGE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"


class Refusal(Exception):
    """An answer with an error, as the Hub words it."""

    def __init__(self, status: int, message: str, code: str = "", **more: Any) -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer = Answer({"error": message, **more}, status, headers)


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    origin: str = ""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """A dict or a list is sent as JSON, bytes are sent as they are."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


@dataclass(frozen=True)
class File:
    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def blob(self) -> str:
        """The name that git gives the file, or the pointer to it."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        data = pointer.encode() if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def oid(self) -> str:
        return self.sha256 if self.lfs else self.blob


@dataclass(frozen=True)
class Commit:
    oid: str
    message: str
    files: dict[str, File]
    parent: "Commit | None" = None

    def history(self) -> list["Commit"]:
        return [self, *(self.parent.history() if self.parent else [])]


class Repository:
    """Files, branches and tags, and the large files that were uploaded, whether or not a commit names them yet."""

    def __init__(self, kind: str, name: str, private: bool = False, sdk: str | None = None) -> None:
        self.kind, self.name, self.private, self.sdk = kind, name, private, sdk
        self.branches: dict[str, Commit] = {}
        self.tags: dict[str, Commit] = {}
        self.large: dict[str, bytes] = {}
        self.commit("main", {".gitattributes": File(b"*.safetensors filter=lfs\n")}, "initial commit")

    def commit(self, branch: str, files: dict[str, File], message: str) -> Commit:
        parent = self.branches.get(branch)
        content = [parent and parent.oid, message, sorted((path, file.oid) for path, file in files.items())]
        oid = hashlib.sha1(json.dumps(content).encode()).hexdigest()
        self.branches[branch] = commit = Commit(oid, message, files, parent)
        return commit

    def at(self, revision: str) -> Commit:
        known = {commit.oid: commit for head in self.branches.values() for commit in head.history()}
        commit = self.branches.get(revision) or self.tags.get(revision) or known.get(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def files(self, branch: str = "main") -> dict[str, bytes]:
        """What a reader of the branch finds, without what the Hub itself put there."""
        return {path: file.data for path, file in self.branches[branch].files.items() if path != ".gitattributes"}

    def messages(self, branch: str = "main") -> list[str]:
        """The messages of its commits, the first one first, without the one that created the repository."""
        return [commit.message for commit in reversed(self.branches[branch].history())][1:]


ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = []


def route(method: str, pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return add


class LocalHub:
    """Users, their tokens and repositories. `user/name` may be written by the tokens of `user` that may write."""

    def __init__(self) -> None:
        self.tokens = {"hf_write": ("user", True), "hf_read": ("user", False), "hf_other": ("other", True)}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lfs = True  # or large files, too, are to come inside the commit
        self.lock = threading.RLock()

    def repository(self, name: str, kind: str = "model") -> Repository:
        return self.repositories[kind, name]

    def answer(self, request: Request) -> Answer:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            user = self._user(request)
            for verb, pattern, function in ROUTES:
                match = pattern.fullmatch(request.path) if verb == method else None
                if match:
                    parts = {key: unquote(value) for key, value in match.groupdict().items() if value}
                    with self.lock:
                        result = function(self, request, user, **parts)
                    return result if isinstance(result, Answer) else Answer(result)
            raise Refusal(404, f"Sorry, we can't find the page you are looking for: {method} {request.path}")
        except Refusal as refusal:
            return refusal.answer

    def _user(self, request: Request) -> tuple[str, bool] | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.tokens.get(token)

    def _read(self, user: tuple[str, bool] | None, kind: str, name: str) -> Repository:
        found = self.repositories.get((KINDS[kind], name))
        if found is None or (found.private and (user is None or user[0] != name.split("/")[0])):
            raise Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        return found

    def _write(self, user: tuple[str, bool] | None, kind: str, name: str) -> Repository:
        self._may_write(user, name.split("/")[0])
        return self._read(user, kind, name)

    @staticmethod
    def _may_write(user: tuple[str, bool] | None, namespace: str) -> None:
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        if user != (namespace, True):
            raise Refusal(403, f"You don't have the rights to write to the namespace {namespace!r}")

    # Who, and which repositories there are

    @route("GET", "/api/whoami-v2")
    def whoami(self, request: Request, user: Any) -> Any:
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        return {"type": "user", "name": user[0], "orgs": [], "auth": {"accessToken": {"role": "write"}}}

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, request: Request, user: Any) -> Any:
        import yaml

        header = re.match(r"---\n(.*?)\n---\n", request.json()["content"], re.DOTALL)
        try:
            yaml.safe_load(header[1] if header else "")
        except yaml.YAMLError as error:
            return Answer({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return {"errors": [], "warnings": []}

    @route("POST", "/api/repos/create")
    def create(self, request: Request, user: Any) -> Any:
        asked = request.json()
        name = f"{asked.get('organization') or (user and user[0])}/{asked['name']}"
        kind = asked.get("type") or "model"
        self._may_write(user, name.split("/")[0])
        url = f"{request.origin}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.repositories:
            raise Refusal(409, f"You already created this {kind} repo", url=url)
        if kind == "space" and not asked.get("sdk"):
            raise Refusal(400, "sdk is required")
        private = asked.get("visibility") == "private"
        self.repositories[kind, name] = Repository(kind, name, private, asked.get("sdk"))
        return {"url": url}

    @route("DELETE", "/api/repos/delete")
    def delete(self, request: Request, user: Any) -> Any:
        asked = request.json()
        kind = asked.get("type") or "model"
        name = f"{asked.get('organization') or user[0]}/{asked['name']}"
        del self.repositories[self._write(user, f"{kind}s", name).kind, name]
        return {}

    # Reading

    @route("GET", API + "(?:/revision/(?P<revision>[^/]+))?")
    def info(self, request: Request, user: Any, kind: str, name: str, revision: str = "main") -> Any:
        repository = self._read(user, kind, name)
        commit = repository.at(revision)
        siblings = [
            {"rfilename": path, "size": len(file.data), "blobId": file.blob} for path, file in commit.files.items()
        ]
        about = {"id": name, "author": name.split("/")[0], "sha": commit.oid, "private": repository.private}
        sdk = {"sdk": repository.sdk} if repository.sdk else {}
        dates = {"lastModified": DATE, "createdAt": DATE}
        return {**about, **sdk, **dates, "tags": [], "downloads": 0, "likes": 0, "gated": False, "siblings": siblings}

    @route("GET", API + "/refs")
    def refs(self, request: Request, user: Any, kind: str, name: str) -> Any:
        repository = self._read(user, kind, name)

        def listed(found: dict[str, Commit], folder: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": c.oid} for n, c in found.items()]

        return {
            "branches": listed(repository.branches, "heads"),
            "tags": listed(repository.tags, "tags"),
            "converts": [],
        }

    @route("GET", API + "/commits/(?P<revision>[^/]+)")
    def commits(self, request: Request, user: Any, kind: str, name: str, revision: str) -> Any:
        history = self._read(user, kind, name).at(revision).history()
        return [{"id": c.oid, "authors": [], "date": DATE, "title": c.message, "message": ""} for c in history]

    @route("GET", API + "/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?")
    def tree(self, request: Request, user: Any, kind: str, name: str, revision: str, path: str = "") -> Any:
        files = self._read(user, kind, name).at(revision).files
        entries = self._entries(files)
        below = {p: entry for p, entry in entries.items() if not path or p.startswith(path + "/")}
        if path and not below:
            raise Refusal(404, f"{path} does not exist on {revision!r}", "EntryNotFound")
        deep = request.query.get("recursive", ["False"])[0].lower() in ("true", "1")
        depth = path.count("/") + 1 if path else 0
        return [entry for p, entry in below.items() if deep or p.count("/") == depth]

    @route("POST", API + "/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, request: Request, user: Any, kind: str, name: str, revision: str) -> Any:
        from urllib.parse import parse_qs

        entries = self._entries(self._read(user, kind, name).at(revision).files)
        is_json = "json" in request.headers.get("content-type", "")
        asked = request.json()["paths"] if is_json else parse_qs(request.body.decode()).get("paths", [])
        return [entries[path.strip("/")] for path in asked if path.strip("/") in entries]

    @staticmethod
    def _entries(files: dict[str, File]) -> dict[str, dict[str, Any]]:
        """Files and the folders that they lie in, as `tree` shows them."""
        entries: dict[str, dict[str, Any]] = {}
        for path, file in sorted(files.items()):
            folders = path.split("/")[:-1]
            for depth in range(1, len(folders) + 1):
                folder = "/".join(folders[:depth])
                entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
            large = {"lfs": {"oid": file.sha256, "size": len(file.data), "pointerSize": 130}} if file.lfs else {}
            entries[path] = {"type": "file", "path": path, "size": len(file.data), "oid": file.blob, **large}
        return entries

    @route("GET", PAGE + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve(self, request: Request, user: Any, name: str, revision: str, path: str, kind: str = "models") -> Any:
        commit = self._read(user, kind, name).at(revision)
        file = commit.files.get(path)
        if file is None:
            refusal = Refusal(404, "Entry not found", "EntryNotFound")
            refusal.answer.headers["X-Repo-Commit"] = commit.oid
            raise refusal
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.data))}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if not span:
            return Answer(file.data, headers=headers)
        part = file.data[int(span[1]) : int(span[2]) + 1 if span[2] else None]
        headers["Content-Range"] = f"bytes {span[1]}-{int(span[1]) + len(part) - 1}/{len(file.data)}"
        return Answer(part, 206, headers)

    # Writing

    @route("POST", API + "/branch/(?P<branch>[^/]+)")
    def branch(self, request: Request, user: Any, kind: str, name: str, branch: str) -> Any:
        repository = self._write(user, kind, name)
        if branch in repository.branches:
            raise Refusal(409, f"Reference already exists: {branch}")
        repository.branches[branch] = repository.at(request.json().get("startingPoint", "main"))
        return {}

    @route("POST", API + "/tag/(?P<revision>[^/]+)")
    def tag(self, request: Request, user: Any, kind: str, name: str, revision: str) -> Any:
        repository = self._write(user, kind, name)
        if request.json()["tag"] in repository.tags:
            raise Refusal(409, "Tag already exists")
        repository.tags[request.json()["tag"]] = repository.at(revision)
        return {}

    @route("POST", API + "/preupload/(?P<revision>[^/]+)")
    def preupload(self, request: Request, user: Any, kind: str, name: str, revision: str) -> Any:
        there = self._write(user, kind, name).at(revision).files
        files = []
        for asked in request.json()["files"]:
            binary = b"\0" in base64.b64decode(asked["sample"])
            mode = "lfs" if self.lfs and binary else "regular"
            old = there.get(asked["path"])
            same_kind = old is not None and old.lfs == (mode == "lfs")
            files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False})
            files[-1]["oid"] = old.oid if old and same_kind else None
        return {"files": files}

    @route("POST", PAGE + r"\.git/info/lfs/objects/batch")
    def lfs_batch(self, request: Request, user: Any, name: str, kind: str = "models") -> Any:
        repository = self._write(user, kind, name)
        objects = []
        for asked in request.json()["objects"]:
            href = f"{request.origin}/lfs/{kind}/{name}/{asked['oid']}"
            actions = {"upload": {"href": href, "header": {}}, "verify": {"href": f"{href}/verify"}}
            there = asked["oid"] in repository.large
            objects.append({"oid": asked["oid"], "size": asked["size"], **({} if there else {"actions": actions})})
        return {"transfer": "basic", "objects": objects}

    @route("PUT", "/lfs/(?P<kind>[^/]+)/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})")
    def lfs_upload(self, request: Request, user: Any, kind: str, name: str, oid: str) -> Any:
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise Refusal(400, "The content is not what was announced")
        self.repositories[KINDS[kind], name].large[oid] = request.body
        return {}

    @route("POST", "/lfs/(?P<kind>[^/]+)/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})/verify")
    def lfs_verify(self, request: Request, user: Any, kind: str, name: str, oid: str) -> Any:
        if len(self._write(user, kind, name).large.get(oid, b"")) != request.json()["size"]:
            raise Refusal(422, "The object is not there")
        return {}

    @route("POST", API + "/commit/(?P<revision>[^/]+)")
    def commit(self, request: Request, user: Any, kind: str, name: str, revision: str) -> Any:
        repository = self._write(user, kind, name)
        if revision not in repository.branches:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        head = repository.branches[revision]
        lines = [json.loads(line) for line in request.body.splitlines()]
        header, operations = lines[0]["value"], lines[1:]
        if header.get("parentCommit") not in (None, head.oid):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for operation in operations:
            self._apply(operation["key"], operation["value"], files, repository)
        commit = repository.commit(revision, files, header["summary"])
        url = f"{request.origin}/{'' if kind == 'models' else kind + '/'}{name}/commit/{commit.oid}"
        return {"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""}

    @staticmethod
    def _apply(key: str, value: dict[str, Any], files: dict[str, File], repository: Repository) -> None:
        path = value["path"]
        if key == "file":
            files[path] = File(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in repository.large:
                raise Refusal(400, f"LFS pointer of {path} points to an object that does not exist")
            files[path] = File(repository.large[value["oid"]], lfs=True)
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key == "deletedFolder":
            for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
                del files[name]
        else:
            raise Refusal(400, f"unknown operation {key}")
