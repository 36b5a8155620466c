/** Runs `tenure upgrade check` on an installation with real histories, with planted problems that it must find. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { upgradeGroup } from '../../../cli/commands/project/upgrade.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { checkUpgrade } from '../../../cli/upgrade/check-upgrade.ts'
import { listMigrations, migrate, migrationsDir } from '../../../store/database/migrate.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { dryMigrate } from '../../../store/maintenance/dry-migration.ts'
import { checkout } from '../../../temporal.config.ts'
import { runCommand } from '../../support/command-line.ts'
import { blocksOf } from '../../support/docs/markdown.ts'
import { changedCode } from '../../support/release/histories.ts'
import {
  openReleaseFixture,
  type FixtureRelease,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'
import { putNetwork } from '../../support/release/candidates.ts'
import { seatChampion } from '../../support/serving/seed-champion.ts'
import { freshDatabase, ownServers } from '../../support/servers/servers.ts'
import { first } from '../../workflows/planted-bugs.ts'

let fixture: ReleaseFixture
let folder: string
let release: FixtureRelease
let ended: FixtureRelease

async function startRelease(): Promise<FixtureRelease> {
  const model = await fixture.model()
  // One of the releases waits until all tests have ended.
  const approval = { approvers: 1, withinMs: 3_600_000 }
  const started = await model.start(await model.register(await model.champion()), { approval })
  await started.reaches('awaiting_approval')
  return started
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-upgrade-'))
  fixture = await openReleaseFixture(await ownServers())
  release = await startRelease()
  ended = await startRelease()
  await ended.say('approve', 'anna')
  expect(await ended.result()).toMatchObject({ outcome: 'promoted' })
})
afterAll(async () => {
  await release?.say('abort', 'anna', { reason: 'the test ends' })
  await fixture?.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  const { artifactRoot, databaseUrl, taskQueues, temporal, signing } = fixture.config
  const variables = {
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporal.address,
    TENURE_CONTROL_QUEUE: taskQueues.control,
    TENURE_STATE: folder,
    TENURE_ARTIFACTS: artifactRoot,
    TENURE_KEYS: signing.keys,
  }
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
})
afterEach(() => vi.unstubAllEnvs())

const copies = () =>
  fixture.store.query(sql`select datname from pg_database where datname like 'tenure_upgrade_check_%'`)

describe('an installation that fits', () => {
  const [block] = blocksOf(readFileSync(join(checkout, 'docs/how-to/machines/upgrade.md'), 'utf8'))

  it('passes as the page says, with its open and closed workflows replayed', async () => {
    const words = block!.text.replace('npx tenure ', '').split(' ')
    const { code, out, err } = await runCommand([upgradeGroup], words)
    expect([code, err], out).toEqual([exitCodes.done, ''])
    expect(out).toContain(block!.notes['shows'])
    expect(out).toMatch(/workflows {4}[1-9]\d* open and [1-9]\d* closed replayed, 0 do not fit/)
    expect(out).toMatch(/versions {5}[1-9]\d* loaded, 0 refused\n/)
    expect(out).toMatch(/judges {7}[1-9]\d* releases judged again, 0 differ\n/)
    // The fixture registers versions without rows.
    expect(out).toMatch(/gates {8}0 judged again, 0 differ; not comparable: /)
    expect(out).toMatch(/drift {8}0 judged again, 0 differ\n/)
  })
})

it('a workflow change that the open releases do not replay is named', async () => {
  const planted = first.find(({ name }) => name === 'an added timer')!
  const workflowCode = join(folder, 'workflows.js')
  writeFileSync(workflowCode, await changedCode(planted))
  const { replayed, issues } = await checkUpgrade({ workflowCode })
  const open = replayed.breaks.filter(({ isOpen }) => isOpen).map(({ workflowId }) => workflowId)
  expect(open).toEqual([release.handle.workflowId])
  expect(issues).toContainEqual(
    expect.stringMatching(
      `^the open workflow ${release.handle.workflowId} does not replay: .*[Nn]ondetermin`,
    ),
  )
})

describe('a pending migration', () => {
  const withMigration = (text: string): string => {
    const directory = mkdtempSync(join(folder, 'migrations-'))
    cpSync(migrationsDir, directory, { recursive: true })
    writeFileSync(join(directory, '9999_next.sql'), text)
    return directory
  }

  it('runs on a copy with the rows of the installation, which stays as it is', async () => {
    const { migrations, issues } = await checkUpgrade({
      migrations: withMigration(
        'alter table models add column colour text; update models set colour = name;',
      ),
    })
    expect(migrations).toMatchObject({ pending: ['9999_next'], unknown: [] })
    expect(migrations.problem).toBeUndefined()
    expect(migrations.rows).toBeGreaterThan(10)
    expect(issues).toEqual([])
    expect(
      await fixture.store.query(sql`
      select from information_schema.columns where table_name = 'models' and column_name = 'colour'`),
    ).toEqual([])
    expect(await copies()).toEqual([])
  })

  it('of this build runs on a database of an older one', async () => {
    const own = await listMigrations()
    const older = mkdtempSync(join(folder, 'older-'))
    for (const name of own.slice(0, -1))
      cpSync(join(migrationsDir, `${name}.sql`), join(older, `${name}.sql`))
    const database = await freshDatabase()
    await migrate(database, older)
    const found = await dryMigrate(database)
    expect([found.pending, found.unknown, found.problem]).toEqual([own.slice(-1), [], undefined])
  })

  it('that only fails on the rows that are there is told, and the copy is deleted', async () => {
    const { migrations, issues } = await checkUpgrade({
      migrations: withMigration(`alter table models add check (name = 'another');`),
    })
    expect(migrations.problem).toContain('is violated by some row')
    expect(issues).toEqual([expect.stringMatching(/^the migrations 9999_next fail on a copy: .*violated/)])
    expect(await copies()).toEqual([])
  })

  it('that this build lacks says that the build is older', async () => {
    await fixture.store.query(sql`insert into migrations (name, run_on) values ('9998_newer', now())`)
    const { issues } = await checkUpgrade()
    expect(issues).toEqual([expect.stringContaining('does not know: 9998_newer; this build is older')])
    await fixture.store.query(sql`delete from migrations where name = '9998_newer'`)
  })
})

it('a release that the judge of this build would decide otherwise is named', async () => {
  const [decision] = await fixture.store.query<{ id: number; reasons: unknown }>(sql`
    update decisions set kind = 'fail', reasons = '[{"code": "errors", "message": "", "values": {}}]'
    where id = (select max(id) from decisions where release_id = ${ended.id}) returning id`)
  const { code, out } = await runCommand([upgradeGroup], ['upgrade', 'check'])
  expect(code).toBe(exitCodes.otherwise)
  expect(out).toContain(`the release ${ended.id} was judged fail (errors) in `)
  expect(decision).toBeDefined()
})

it('a version that serves and that this build cannot load is named', async () => {
  const model = await fixture.model()
  const artifacts = openArtifacts(fixture.config.artifactRoot)
  const other = await putNetwork(artifacts, model.name, [1, -1, 0], (manifest) => ({
    ...manifest,
    golden: { ...manifest.golden, outputs: [[0.9], [0.9]] },
  }))
  const version = await model.register(undefined, other)
  await seatChampion(fixture.store, model.name, version)
  const { code, out } = await runCommand([upgradeGroup], ['upgrade', 'check'])
  expect(code).toBe(exitCodes.otherwise)
  expect(out).toMatch(/versions {5}\d+ loaded, 1 refused\n/)
  expect(out).toContain(`${version} serves, and this build cannot load it: `)
})
