/** Tests restores whose last commit loses its response, or is lost itself. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { completePointInTimeRestore } from '../../../cli/backup/after-restore.ts'
import { makeBackup } from '../../../cli/backup/create.ts'
import { restoreBackup } from '../../../cli/backup/restore.ts'
import { appendAudit, listAudit } from '../../../store/audit/audit-log.ts'
import { headFiles, openHeads } from '../../../store/audit/signed-heads.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import type { Config } from '../../../temporal.config.ts'
import { openCuttableLink } from '../../support/servers/cuttable-link.ts'
import {
  openServingFixture,
  threeVersions,
  type ServingFixture,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'

let fixture: ServingFixture
let dir: string
let config: Config
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-lost-answer-'))
  fixture = await openServingFixture()
  await threeVersions(fixture)
  const { databaseUrl, artifactRoot } = fixture
  config = { databaseUrl, artifactRoot, stateDir: dir, signing: keyPlacesOf(artifactRoot) } as Config
  await fixture.store.transaction((database) =>
    appendAudit(database, { actor: 'ada', action: 'model.noted', subject: 'iris', detail: {} }),
  )
})
afterAll(async () => {
  await fixture.close()
  rmSync(dir, { recursive: true, force: true })
})

const placeOn = (databaseUrl: string) => ({
  config: { ...config, databaseUrl },
  databaseUrl,
  running: true,
  close: () => Promise.resolve(),
})
const lastRow = async () => (await listAudit(fixture.store, { limit: 1 }))[0]!
const epochs = async () =>
  (await fixture.store.query<{ epoch: number }>(sql`select epoch from routing_epochs order by epoch`)).map(
    ({ epoch }) => epoch,
  )

/** Appends a head of a row that the restore removes, and returns the lists of heads. */
async function headOfLostTime(): Promise<string[]> {
  const { seq, hash } = await lastRow()
  const heads = openHeads(headFiles(config), await openSigner(config.signing, 'heads'))
  await heads.append({ seq, hash })
  await heads.append({ seq: seq + 1, hash: 'f'.repeat(64) })
  return headFiles(config).map((file) => readFileSync(file, 'utf8'))
}

/** Matches the protocol message, because copied rows may contain the word. */
const commit = /insert into routing_epochs[^]*Q\0\0\0.commit\0/s
const kinds = [
  ['to a moment', async (url: string) => completePointInTimeRestore(placeOn(url), 'test')],
  [
    'of a backup',
    async (url: string) => {
      const file = join(dir, 'backup.tar')
      const options = { backup: { path: file, name: file }, replace: true, reSign: false, actor: 'test' }
      return restoreBackup(placeOn(url), options)
    },
  ],
] as const

it.each(kinds)(
  'a restore %s that Postgres carried out without an answer is told as done',
  async (_name, restore) => {
    rmSync(join(dir, 'backup.tar'), { force: true })
    await makeBackup(placeOn(fixture.databaseUrl), {
      file: join(dir, 'backup.tar'),
      snapshots: true,
      allowMissing: true,
    })
    await headOfLostTime()
    const link = await openCuttableLink(fixture.databaseUrl, { loses: { text: commit, what: 'answer' } })
    const done = await restore(link.url)
    expect((await epochs()).at(-1)).toBe(done.epoch)
    expect(done.set_aside).toHaveLength(2)
    // It may be repeated: no head names a missing row.
    const again = await completePointInTimeRestore(placeOn(link.url), 'test')
    expect(again.epoch).toBeGreaterThan(done.epoch)
    await link.close()
  },
)

it.each(kinds)(
  'a restore %s whose commit is lost leaves the audit heads as they were',
  async (_name, restore) => {
    const before = { heads: await headOfLostTime(), epochs: await epochs() }
    const link = await openCuttableLink(fixture.databaseUrl, { loses: { text: commit, what: 'question' } })
    await expect(restore(link.url)).rejects.toThrow()
    expect(await epochs()).toEqual(before.epochs)
    expect(headFiles(config).map((file) => readFileSync(file, 'utf8'))).toEqual(before.heads)
    await link.close()
  },
)
