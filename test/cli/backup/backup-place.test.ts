/** Tests backups in a bucket and in a directory: what is written, what a restore takes, and which of them it refuses. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { backupNameOf, listBackups } from '../../../cli/backup/backup-place.ts'
import { backupCommand } from '../../../cli/commands/admin/backup.ts'
import { restoreCommand } from '../../../cli/commands/admin/restore.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { runProgram } from '../../../cli/program.ts'
import { openDirectoryStore } from '../../../store/objects/directory.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import { environmentOf, openTestStore, sharedMoto } from '../../support/objects/moto-server.ts'
import { openCuttableLink } from '../../support/servers/cuttable-link.ts'
import {
  openServingFixture,
  threeVersions,
  type ServingFixture,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'

const moto = await sharedMoto()
let fixture: ServingFixture
let dir: string
/** Temporary copies of backups, which no command leaves behind. */
let passing: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-places-'))
  passing = mkdtempSync(join(tmpdir(), 'tenure-passing-'))
  fixture = await openServingFixture()
  await threeVersions(fixture)
})
afterAll(async () => {
  await moto?.stop()
  await fixture.close()
  for (const each of [dir, passing]) rmSync(each, { recursive: true, force: true })
})
afterEach(() => vi.unstubAllEnvs())

async function tenure(words: string[], environment: Record<string, string> = {}) {
  const variables = {
    TENURE_STATE: dir,
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    DATABASE_URL: fixture.databaseUrl,
    TMPDIR: passing,
    ...environment,
  }
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram([backupCommand, restoreCommand], words, streams)
  expect(readdirSync(passing)).toEqual([])
  return { code, out, err }
}

interface Place {
  address: string
  store: ObjectStore
  environment: Record<string, string>
}

const places: [string, () => Promise<Place>][] = [
  [
    'a bucket',
    async () => {
      const settings = await moto!.bucket('nightly/tenure')
      const { TENURE_OBJECT_STORE: address, ...environment } = environmentOf(settings)
      return { address, store: openTestStore(settings), environment }
    },
  ],
  [
    'a directory',
    () => {
      const directory = join(dir, 'backups')
      return Promise.resolve({
        address: `${directory}/`,
        store: openDirectoryStore(directory),
        environment: {},
      })
    },
  ],
]

describe.each(places.filter(([what]) => what === 'a directory' || moto !== undefined))(
  '%s',
  (_what, open) => {
    let place: Place
    let name: string
    const isNoted = async () => {
      const [row] = await fixture.store.query(sql`select from service_state where name = 'after the backup'`)
      return row !== undefined
    }
    beforeAll(async () => void (place = await open()))

    it('keeps a backup under its time, and a restore takes the newest', async () => {
      await place.store.put('tenure-20200101T000000Z.tar', Buffer.from('an older one'))
      await place.store.put('notes.tar', Buffer.from('of another program'))
      const made = await tenure(['backup', place.address, '--json'], place.environment)
      expect(made).toMatchObject({ code: exitCodes.done, err: '' })
      const { file, taken_at: takenAt } = JSON.parse(made.out) as { file: string; taken_at: string }
      name = backupNameOf(takenAt)
      expect(file).toBe(`${place.store.address}/${name}`)
      expect(await listBackups(place.store)).toEqual(['tenure-20200101T000000Z.tar', name])
      await fixture.store.query(
        sql`insert into service_state (name, value) values ('after the backup', 'true')`,
      )
      const restored = await tenure(['restore', place.address, '--replace', '--json'], place.environment)
      expect(restored).toMatchObject({ code: exitCodes.done, err: '' })
      expect(JSON.parse(restored.out)).toMatchObject({ file, taken_at: takenAt })
      expect(await isNoted()).toBe(false)
    })

    it('overwrites no backup', async () => {
      const again = await tenure(['backup', `${place.store.address}/${name}`], place.environment)
      // In a directory this is a file.
      expect(again.code).toBe(exitCodes.usage)
      expect(again.err).toContain('already exists')
    })

    it.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
      ['has changed', (bytes) => changed(bytes), /is damaged/],
      ['is cut off', (bytes) => bytes.subarray(0, bytes.length - 40_000), /truncated/],
      [
        'goes on behind its end',
        (bytes) => Buffer.concat([bytes, Buffer.alloc(512, 1)]),
        /bytes behind its end/,
      ],
      ['is older than its name', (bytes) => bytes, /holds the backup of .*, which its name does not say/],
    ])('is refused as the source of a backup that %s', async (_how, harm, pattern) => {
      const harmed = 'tenure-20990101T000000Z.tar'
      await place.store.put(harmed, harm((await place.store.get(name))!))
      const { code, err } = await tenure(['restore', place.address, '--replace'], place.environment)
      await place.store.remove(harmed)
      expect(code).toBe(exitCodes.otherwise)
      expect(err).toMatch(pattern)
      expect(err).toContain(`${place.store.address}/${harmed}`)
    })

    it('is named when it has no backup', async () => {
      await place.store.remove('tenure-20200101T000000Z.tar')
      await place.store.remove(name)
      const { code, err } = await tenure(['restore', place.address, '--replace'], place.environment)
      expect(code).toBe(exitCodes.usage)
      expect(err).toContain(`there is no backup in ${place.store.address}`)
    })
  },
)

/** Changes more bytes in the middle than an entry has padding. */
function changed(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  const middle = Math.floor(bytes.length / 2)
  for (let at = middle; at < middle + 600; at++) copy[at]! ^= 1
  return copy
}

it.skipIf(moto === undefined)('a backup whose upload loses its response is done', async () => {
  const settings = await moto!.bucket()
  const loses = { text: /^PUT /m, what: 'answer' } as const
  const link = await openCuttableLink(settings.endpoint, { loses })
  const { TENURE_OBJECT_STORE: address, ...environment } = environmentOf({ ...settings, endpoint: link.url })
  const { code, err } = await tenure(['backup', `${address}/nightly.tar`], environment)
  expect([code, err]).toEqual([exitCodes.done, ''])
  await link.close()
})

describe('an address', () => {
  const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'a-secret-of-the-tests' }
  it.each<[string, string, Record<string, string>, number, string]>([
    [
      'of another kind',
      'https://backups.example.com/tenure',
      {},
      exitCodes.usage,
      'is not a place for a backup',
    ],
    ['without credentials', 's3://backups/tenure', {}, exitCodes.usage, 'AWS_ACCESS_KEY_ID'],
    [
      'that does not answer',
      's3://backups/tenure',
      { ...credentials, TENURE_S3_ENDPOINT: 'http://127.0.0.1:9' },
      exitCodes.unreachable,
      's3://backups/tenure',
    ],
  ])(
    '%s is refused by name, for a backup and for a restore',
    async (_what, address, environment, code, text) => {
      for (const word of ['backup', 'restore']) {
        const found = await tenure([word, address], environment)
        expect(found.code).toBe(code)
        expect(found.err).toContain(text)
      }
    },
  )

  it.skipIf(moto === undefined)('of a bucket that does not exist is refused by name', async () => {
    const { TENURE_OBJECT_STORE: _, ...environment } = environmentOf(await moto!.bucket())
    const { code, err } = await tenure(['backup', 's3://no-such-bucket/x'], environment)
    expect(code).toBe(exitCodes.unreachable)
    expect(err).toContain('has no bucket no-such-bucket')
  })
})
