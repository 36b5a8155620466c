/**
 * Sends every hostile archive and folder down every road by which files come from elsewhere. `issuesOfRoads` in the tidy test names the
 * files that read archives or folders in another way.
 */
import { execFileSync } from 'node:child_process'
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Header, type HeaderData } from 'tar/header'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readResultFolder } from '../../../activities/trainers/result-folder.ts'
import { requireParquet } from '../../../activities/trainers/source-program.ts'
import { baseKey, listBases } from '../../../cli/backup/point-in-time/places.ts'
import { unpackBase } from '../../../cli/backup/point-in-time/restore-to.ts'
import { isDataFile } from '../../../cli/backup/point-in-time/write-base.ts'
import { openArchive } from '../../../cli/backup/read-archive.ts'
import { openBundle } from '../../../store/bundles/bundle.ts'
import { createNameCheck } from '../../../store/foreign/foreign-names.ts'
import { withModelFiles } from '../../../store/registry/model-files.ts'
import { openDirectoryStore } from '../../../store/objects/directory.ts'
import type { Config } from '../../../temporal.config.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-foreign-'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

interface Entry extends HeaderData {
  path: string
  content?: Buffer
}

/** A tar of these entries. `Header` would split or cut a name; here it is written as it is. */
function pack(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap(({ content = Buffer.alloc(0), ...data }) => {
    const header = new Header({ type: 'File', mode: 0o600, size: content.byteLength, ...data, path: 'x' })
    header.encode()
    const block = header.block!
    block.fill(0, 0, 100)
    block.write(data.path, 0, 100, data.path.includes('\u00FF') ? 'latin1' : 'utf8')
    block.fill(0x20, 148, 156)
    block.write(
      `${[...block]
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    )
    return [block, content, Buffer.alloc((512 - (content.byteLength % 512)) % 512)]
  })
  return Buffer.concat([...parts, Buffer.alloc(1_024)])
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** A valid archive of a road with further entries, signed with a key that this installation does not know. */
function signed(format: string, more: readonly Entry[], facts: object = {}): Buffer {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const entries = Object.fromEntries(
    more.map(({ path, content = Buffer.alloc(0) }) => [
      path,
      { bytes: content.byteLength, sha256: sha256(content) },
    ]),
  )
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' })
  const manifest = Buffer.from(
    JSON.stringify({ format, entries, publicKey: publicPem, directories: [], ...facts }),
  )
  return pack([
    ...more,
    { path: 'manifest.json', content: manifest },
    { path: 'manifest.sig', content: sign(null, manifest, privateKey) },
  ])
}

const baseFacts = {
  endedAt: '2026-01-01T00:00:00.000Z',
  systemId: '7000000000000000001',
  startSegment: '000000010000000000000002',
  stopSegment: '000000010000000000000002',
}
const label: Entry = { path: 'backup_label', content: Buffer.from('START WAL LOCATION: 0/2000028\n') }

/** Restores a base with --re-sign up to its files. */
async function unpack(more: readonly Entry[], facts: object = {}): Promise<string> {
  const place = mkdtempSync(join(root, 'base-'))
  const key = baseKey(baseFacts)
  mkdirSync(join(place, 'copies', dirname(key)), { recursive: true })
  writeFileSync(
    join(place, 'copies', key),
    signed('tenure-base@1', [label, ...more], { ...baseFacts, ...facts }),
  )
  const store = openDirectoryStore(join(place, 'copies'))
  const [base] = await listBases(store)
  const draft = join(place, 'state', 'draft')
  mkdirSync(dirname(draft))
  const config = { signing: keyPlacesOf(join(root, 'keys')) } as Config
  await unpackBase({ store, base: base!, draft, config }, { reSign: true })
  expect(readdirSync(join(place, 'state'))).toEqual(['draft'])
  expect(readdirSync(place).toSorted()).toEqual(['copies', 'state'])
  return draft
}

const archiveRoads: Record<string, { code: string; read: (entries: readonly Entry[]) => Promise<unknown> }> =
  {
    backup: {
      code: 'otherwise',
      async read(entries) {
        const path = join(mkdtempSync(join(root, 'backup-')), 'backup.tar')
        writeFileSync(path, signed('tenure-backup@1', entries))
        return openArchive({ path, name: path })
      },
    },
    base: { code: 'otherwise', read: unpack },
    bundle: {
      code: 'bundle_invalid',
      read: async (entries) =>
        openBundle(pack([{ path: 'bundle.json', content: Buffer.from('{}') }, ...entries]), []),
    },
    'model files': {
      code: 'invalid_model_file',
      read: (entries) => withModelFiles(pack(entries), () => Promise.resolve('taken')),
    },
  }

const deep = Array.from({ length: 30 }, () => 'a').join('/')
/** Each name is refused on each road, wherever it would lead. */
const hostileNames: Record<string, string> = {
  'a name above': '../owned.txt',
  'a name above, within': 'data/base/../../../owned.txt',
  'a name above, at the end': 'data/base/..',
  'an absolute name': '/tmp/owned.txt',
  'a name of this folder': 'data/./a',
  'an empty part': 'data//a',
  'no name': '',
  'a name with a line break': 'data/base/1\n2',
  'a name with an escape': 'data/base/\u001B[2J',
  'a name that turns its direction': 'data/base/\u202Etxt.exe',
  'a name that is not UTF-8': 'data/base/\u00FF',
  'a name with a backslash': 'data\\..\\..\\owned.txt',
  'a name that is too deep': deep,
}
const file = (path: string): Entry => ({ path, content: gzipSync('owned') })
const hostileArchives: Record<string, readonly Entry[]> = {
  ...Object.fromEntries(Object.entries(hostileNames).map(([what, path]) => [what, [file(path)]])),
  'a symbolic link': [{ path: 'data/base/1', type: 'SymbolicLink', linkpath: '/etc' }],
  'a file behind a symbolic link': [
    { path: 'data/base/1', type: 'SymbolicLink', linkpath: '/etc' },
    file('data/base/1/owned'),
  ],
  'a hard link': [{ path: 'data/base/1', type: 'Link', linkpath: '/etc/passwd' }],
  'a device': [{ path: 'data/base/1', type: 'CharacterDevice', devmaj: 1, devmin: 1 }],
  'a pipe': [{ path: 'data/base/1', type: 'FIFO' }],
  'a longer name for the next entry': [
    { path: 'data/base/1', type: 'NextFileHasLongPath' },
    file('data/base/2'),
  ],
  'extended headers': [{ path: 'data/base/1', type: 'ExtendedHeader' }, file('data/base/2')],
  'a name twice': [file('data/base/1'), file('data/base/1')],
  'names that differ in case': [file('data/base/a'), file('data/base/A')],
  'names that differ in their form': [file('data/base/\u00E9'), file('data/base/e\u0301')],
  'a file and a folder of one name': [file('data/base/1'), file('data/base/1/a')],
  'a folder and a file of one name': [file('data/base/1/a'), file('data/base/1')],
  'more files than the limit of a bundle': Array.from({ length: 1_001 }, (_, index) => ({
    path: `f${index}`,
  })),
}
/** The limits of a backup allow these. */
const allowed = [
  ['backup', 'more files than the limit of a bundle'],
  ['base', 'more files than the limit of a bundle'],
]

describe.each(Object.entries(archiveRoads))('an archive from elsewhere: %s', (name, { code, read }) => {
  const cases = Object.entries(hostileArchives).filter(
    ([what]) => !allowed.some(([road, each]) => road === name && each === what),
  )
  it.each(cases)('is refused with %s', async (_what, entries) => {
    const refused: unknown = await read(entries).catch((error: unknown) => error)
    expect((refused as { problem?: object }).problem ?? refused).toMatchObject({ code })
  })
})

describe('a base of another installation', () => {
  it('brings data files, and no configuration, access rules, orders to recover or links to tablespaces', async () => {
    const names = [
      'postgresql.conf',
      'postgresql.auto.conf',
      'pg_hba.conf',
      'pg_ident.conf',
      'recovery.signal',
      'standby.signal',
      'recovery.conf',
      'tablespace_map',
      'backup_label',
      'postmaster.pid',
      'tenure.password',
      'conf.d/more.conf',
      'pg_tblspc/16384',
      'pg_wal/000000010000000000000002',
      'pg_replslot/slot/state',
      'any_later_name',
    ]
    const draft = await unpack(
      [...names, 'PG_VERSION', 'base/1/1259', 'global/pg_control'].map((each) => file(`data/${each}`)),
      { directories: ['base/5', 'pg_tblspc/16384', 'conf.d', '..', '../../made', '/tmp/made'] },
    )
    const found = readdirSync(draft, { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile())
      .map((each) => join(each.parentPath, each.name).slice(draft.length + 1))
    expect(found.toSorted()).toEqual(['PG_VERSION', 'backup_label', 'base/1/1259', 'global/pg_control'])
    expect(readdirSync(join(draft, 'base')).toSorted()).toEqual(['1', '5'])
    expect(names.filter(isDataFile)).toEqual([])
  })

  it('is refused when it unpacks to a multiple of its size that no database has', async () => {
    const bomb = gzipSync(Buffer.alloc(33_554_432), { level: 9 })
    const more = Array.from({ length: 5 }, (_, index) => ({ path: `data/base/1/${index}`, content: bomb }))
    await expect(unpack(more)).rejects.toThrow(/unpacks to more than 134217728 bytes/)
  })
})

const folderRoads: Record<string, { code: string; read: (folder: string) => Promise<unknown> }> = {
  'result of a training program': { code: 'training_failed', read: readResultFolder },
  'rows of a source program': {
    code: 'source_unreadable',
    read: (folder) => requireParquet(folder, 'extract.py'),
  },
}
const secret = () => join(root, 'secret')
const hostileFolders: Record<string, (folder: string) => void> = {
  'a symbolic link': (folder) => symlinkSync(secret(), join(folder, 'model.txt')),
  'a symbolic link to a folder': (folder) => symlinkSync('/etc', join(folder, 'more')),
  'a link that leads nowhere': (folder) => symlinkSync('/nowhere', join(folder, 'rows.parquet')),
  'a hard link': (folder) => linkSync(secret(), join(folder, 'rows.parquet')),
  'a pipe': (folder) => void execFileSync('mkfifo', [join(folder, 'rows.parquet')]),
  'names that differ in case': (folder) =>
    ['a.parquet', 'A.parquet'].forEach((name) => writeFileSync(join(folder, name), '')),
  'a name with a line break': (folder) => writeFileSync(join(folder, 'a\nb.parquet'), ''),
  'a name that is not UTF-8': (folder) =>
    writeFileSync(
      Buffer.concat([Buffer.from(`${folder}/a`), Buffer.from([0xff]), Buffer.from('.parquet')]),
      '',
    ),
  'a name with a backslash': (folder) => writeFileSync(join(folder, 'a\\b.parquet'), ''),
  'a folder that is too deep': (folder) => mkdirSync(join(folder, deep), { recursive: true }),
  'a folder in place of a link': (folder) => {
    rmSync(folder, { recursive: true })
    symlinkSync('/etc', folder)
  },
  'no folder': (folder) => rmSync(folder, { recursive: true }),
}

describe.each(Object.entries(folderRoads))('a folder from elsewhere: %s', (_name, { code, read }) => {
  it.each(Object.entries(hostileFolders))('is refused with %s', async (_what, make) => {
    writeFileSync(secret(), 'secret')
    const folder = mkdtempSync(join(root, 'output-'))
    make(folder)
    await expect(read(folder)).rejects.toMatchObject({ code })
  })
})

describe('the limits of files from elsewhere', () => {
  const limits = { maxFiles: 2, maxBytes: 10, maxDepth: 2 }
  it.each<[string, [string, number][], RegExp]>([
    [
      'files',
      [
        ['a', 1],
        ['b', 1],
        ['c', 1],
      ],
      /more than 2 files/,
    ],
    [
      'bytes',
      [
        ['a', 9],
        ['b', 2],
      ],
      /more than 10 bytes/,
    ],
    ['folders', [['a/b/c', 1]], /deeper than 2/],
    ['the length of a part', [['a'.repeat(256), 1]], /longer than 255 bytes/],
    ['a size', [['a', -1]], /no size/],
  ])('bound %s', (_what, given, message) => {
    const issueOf = createNameCheck(limits)
    const issues = given.map(([name, bytes]) => issueOf(name, bytes))
    expect(issues.at(-1)).toMatch(message)
    expect(issues.slice(0, -1).every((each) => each === undefined)).toBe(true)
  })
})
