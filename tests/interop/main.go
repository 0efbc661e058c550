// Readlog reads an exported ledger with code that is not ours: golang.org/x/mod/sumdb/{note,tlog}.
//
//	readlog DIR [OLDER-CHECKPOINT]
//
// DIR, a directory or an http:// address, holds `vkey`, `checkpoint` and `tile/...`. It opens the checkpoint with the key, proves every entry of every bundle
// to be in the tree, and the older checkpoint to be its beginning. It exits 1, with a reason, at the first thing that is wrong.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: readlog DIR [OLDER-CHECKPOINT]")
		os.Exit(2)
	}
	if err := read(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(dir string, older []string) error {
	vkey, err := load(dir, "vkey")
	if err != nil {
		return err
	}
	key, err := note.NewVerifier(strings.TrimSuffix(string(vkey), "\n"))
	if err != nil {
		return err
	}
	signed, err := load(dir, "checkpoint")
	if err != nil {
		return err
	}
	tree, err := open(signed, key)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	tiles := &tileReader{dir: dir, known: map[tlog.Tile][]byte{}}
	hashes := &hashReader{from: tlog.TileHashReader(tree, tiles), known: map[int64]tlog.Hash{}}
	if err := proveEntries(dir, tree, hashes); err != nil {
		return err
	}
	from := "nothing"
	for _, path := range older {
		signed, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		old, err := open(signed, key)
		if err != nil {
			return fmt.Errorf("older checkpoint: %w", err)
		}
		if err := proveConsistency(tree, old, hashes); err != nil {
			return fmt.Errorf("from %d to %d: %w", old.N, tree.N, err)
		}
		from = strconv.FormatInt(old.N, 10)
	}
	fmt.Printf("%d entries included, consistent from %s\n", tree.N, from)
	return nil
}

// load reads one file of the log, from a directory or over HTTP.
func load(dir, path string) ([]byte, error) {
	if !strings.HasPrefix(dir, "http://") {
		return os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
	}
	answer, err := http.Get(dir + "/" + path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// open verifies a signed checkpoint: origin, size, root. Its origin is the key's name.
func open(signed []byte, key note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(key))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != key.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, errors.New("malformed size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

func proveEntries(dir string, tree tlog.Tree, hashes *hashReader) error {
	for first := int64(0); first < tree.N; first += width {
		bundle := tlog.Tile{H: height, L: -1, N: first / width, W: int(min(tree.N-first, width))}
		content, err := load(dir, path(bundle))
		if err != nil {
			return err
		}
		if err := hashes.readAhead(first, int64(bundle.W)); err != nil {
			return fmt.Errorf("%s: %w", path(bundle), err)
		}
		for index := first; index < first+int64(bundle.W); index++ {
			if len(content) < 2 {
				return fmt.Errorf("%s: too short", path(bundle))
			}
			length := int(binary.BigEndian.Uint16(content))
			if len(content) < 2+length {
				return fmt.Errorf("%s: too short", path(bundle))
			}
			if err := proveEntry(content[2:2+length], index, tree, hashes); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			content = content[2+length:]
		}
		if len(content) != 0 {
			return fmt.Errorf("%s: %d bytes too many", path(bundle), len(content))
		}
	}
	return nil
}

func proveEntry(entry []byte, index int64, tree tlog.Tree, hashes tlog.HashReader) error {
	proof, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func proveConsistency(tree, old tlog.Tree, hashes tlog.HashReader) error {
	if old.N == 0 {
		return nil // everything continues a log without entries
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

// hashReader keeps the hashes that tlog has authenticated: it authenticates once for each call, not once for each hash.
type hashReader struct {
	from  tlog.HashReader
	known map[int64]tlog.Hash
}

// readAhead reads, in one call, every hash of the full subtrees within a bundle.
func (r *hashReader) readAhead(first, count int64) error {
	var indexes []int64
	for level := 0; level < height; level++ {
		for at := first >> level; (at+1)<<level <= first+count; at++ {
			indexes = append(indexes, tlog.StoredHashIndex(level, at))
		}
	}
	_, err := r.ReadHashes(indexes)
	return err
}

func (r *hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var missing []int64
	for _, index := range indexes {
		if _, found := r.known[index]; !found {
			missing = append(missing, index)
		}
	}
	if len(missing) > 0 {
		read, err := r.from.ReadHashes(missing)
		if err != nil {
			return nil, err
		}
		for at, index := range missing {
			r.known[index] = read[at]
		}
	}
	hashes := make([]tlog.Hash, len(indexes))
	for at, index := range indexes {
		hashes[at] = r.known[index]
	}
	return hashes, nil
}

// tileReader gives tlog the tiles of c2sp.org/tlog-tiles, whose paths leave out the height and say `entries` for `data`.
type tileReader struct {
	dir   string
	known map[tlog.Tile][]byte
}

func path(tile tlog.Tile) string {
	named := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	if rest, found := strings.CutPrefix(named, "data/"); found {
		named = "entries/" + rest
	}
	return "tile/" + named
}

func (r *tileReader) Height() int { return height }

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	contents := make([][]byte, len(tiles))
	for at, tile := range tiles {
		if content, found := r.known[tile]; found {
			contents[at] = content
			continue
		}
		content, err := load(r.dir, path(tile))
		if err != nil {
			return nil, err
		}
		contents[at] = content
	}
	return contents, nil
}

// SaveTiles is called with tiles that tlog has authenticated against the checkpoint.
func (r *tileReader) SaveTiles(tiles []tlog.Tile, contents [][]byte) {
	for at, tile := range tiles {
		r.known[tile] = contents[at]
	}
}
