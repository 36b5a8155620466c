/** Tests that the doctor names each problem and its remedy. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { Sql } from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { doctorCommand } from '../../../cli/commands/admin/doctor.ts'
import {
  findingOfClock,
  findingOfUnreached,
  findingsOfDatabase,
  findingsOfServer,
} from '../../../cli/doctor/database.ts'
import { checkChampions, checkDataDirectory, checkModels, checkRoot } from '../../../cli/doctor/files.ts'
import type { Finding } from '../../../cli/doctor/finding.ts'
import { checkMemory, checkNode, checkPort } from '../../../cli/doctor/machine.ts'
import { checkParts, findingOfPart } from '../../../cli/doctor/set-up.ts'
import { endLease } from '../../../store/serving/replicas.ts'
import { findingsOfReplicas } from '../../../cli/doctor/replicas.ts'
import { freePort } from '@tenure/embedded'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { runProgram } from '../../../cli/program.ts'
import { diagnose, type Diagnosis } from '../../../store/maintenance/diagnostics.ts'
import { noteMigrations } from '../../../store/database/migrate.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { openPublicKeys, openSigner } from '../../../store/signing/signing-key.ts'
import {
  applicationUrl,
  freshDatabase,
  openPatientStore,
  temporalAddress,
} from '../../support/servers/servers.ts'
import {
  openServingFixture,
  threeVersions,
  type ServingFixture,
} from '../../support/serving/serving-fixture.ts'
import { keyPlacesIn, keyPlacesOf } from '../../support/serving/sign-versions.ts'

let fixture: ServingFixture
let dir: string
let champion: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tenure-doctor-'))
  chmodSync(dir, 0o711)
  fixture = await openServingFixture()
  const made = await threeVersions(fixture)
  champion = made.champion
  await fixture.store.query(sql`insert into champions (model, version) values (${made.model}, ${champion})`)
})
afterAll(async () => {
  await fixture.close()
  rmSync(dir, { recursive: true, force: true })
})
afterEach(() => vi.unstubAllEnvs())

interface Answer {
  broken: number
  warnings: number
  findings: Finding[]
}

async function doctor(variables: Record<string, string>, ...words: string[]) {
  const all = {
    TENURE_STATE: join(dir, 'state'),
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    DATABASE_URL: fixture.databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_URL: '',
    TENURE_PORT: '0',
    ...variables,
  }
  for (const [name, value] of Object.entries(all)) vi.stubEnv(name, value)
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  const code = await runProgram([doctorCommand], ['doctor', '--json', ...words], streams)
  return { code, err, answer: JSON.parse(out) as Answer }
}

const of = (findings: readonly Finding[], check: string): Finding[] =>
  findings.filter((each) => each.check === check && each.state !== 'ok')

async function diagnosisOf(url: string): Promise<Diagnosis> {
  const found = await diagnose(url, 'test')
  if ('code' in found) throw new Error(found.message)
  return found
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

describe('tenure doctor', () => {
  it('passes a stopped installation and prints one JSON document', async () => {
    const { code, answer, err } = await doctor({})
    expect(answer.findings.filter(({ state }) => state === 'broken')).toEqual([])
    expect(code).toBe(exitCodes.done)
    expect(err).toBe('')
    for (const check of [
      'node',
      'set-up: addon',
      'database',
      'migrations',
      'clock',
      'champions',
      'temporal',
      'search attributes',
    ])
      expect(answer.findings, check).toContainEqual(expect.objectContaining({ check, state: 'ok' }))
    // No worker polls, which is a warning, and an error with --strict.
    expect(of(answer.findings, 'workers')[0]).toMatchObject({ state: 'warning' })
  })

  it('reports all problems at once, each with a remedy', async () => {
    const taken = createServer()
    const port = await listening(taken)
    const nothing = join(dir, 'empty')
    mkdirSync(nothing, { recursive: true })
    const { code, answer } = await doctor({
      PATH: nothing,
      TENURE_CACHE: nothing,
      TENURE_PORT: String(port),
      DATABASE_URL: `postgres://tenure:secret@127.0.0.1:${await freePort()}/tenure`,
      TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}`,
    })
    taken.close()
    expect(code).toBe(exitCodes.otherwise)
    const { findings } = answer
    expect(of(findings, 'set-up: addon')[0]).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('g++'),
      next: expect.stringContaining('apt-get install -y g++'),
    })
    expect(of(findings, 'ports')[0]).toMatchObject({
      state: 'warning',
      found: expect.stringMatching(new RegExp(`${port}.*in use by process ${process.pid}`)),
      next: expect.stringContaining('TENURE_PORT'),
    })
    expect(of(findings, 'database')[0]).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('nothing listens at 127.0.0.1:'),
      next: expect.stringContaining('DATABASE_URL'),
    })
    expect(of(findings, 'temporal')[0]).toMatchObject({
      state: 'broken',
      next: expect.stringContaining('TEMPORAL_ADDRESS'),
    })
    expect(JSON.stringify(findings)).not.toContain('secret')
  })

  it('reports an invalid configuration and runs the other checks', async () => {
    const { code, answer } = await doctor({ TENURE_REPLICA_LEASE_MS: 'soon', TENURE_PROT: '7500' })
    expect(code).toBe(exitCodes.otherwise)
    const [invalid, unknown] = of(answer.findings, 'configuration')
    expect(invalid?.found).toContain('TENURE_REPLICA_LEASE_MS')
    expect(unknown).toMatchObject({ state: 'warning', found: 'TENURE_PROT is set, and nothing reads it' })
    expect(answer.findings).toContainEqual(expect.objectContaining({ check: 'node', state: 'ok' }))
  })

  it('names two processes that want one port', async () => {
    const ports = { TENURE_TEMPORAL_PORT: '7998', TENURE_PORT: '7998', TEMPORAL_ADDRESS: '' }
    expect(of((await doctor(ports)).answer.findings, 'ports')[0]?.found).toContain('want the port 7998')
  })
})

describe('the database check', () => {
  const findingsAt = async (url: string) =>
    findingsOfDatabase(url, await diagnose(url, 'test'), { running: false }).filter(
      ({ state }) => state !== 'ok',
    )

  it('reports a server that refuses writes, and not that no replica is alive', async () => {
    const url = await freshDatabase()
    const store = openPatientStore(url)
    await store.query(
      new Sql([`alter database ${url.split('/').at(-1)} set default_transaction_read_only = on`], []),
    )
    await store.close()
    const findings = findingsOfDatabase(url, await diagnose(url, 'test'), { running: true })
    expect(findings).toContainEqual(
      expect.objectContaining({ state: 'broken', found: expect.stringContaining('read-only') }),
    )
    expect(findings.map(({ check }) => check)).not.toContain('replicas')
  })

  it('names a missing database', async () => {
    const url = fixture.databaseUrl.replace(/[^/]+$/, 'elsewhere')
    expect(await findingsAt(url)).toMatchObject([
      { state: 'broken', found: expect.stringContaining('there is no database elsewhere') },
    ])
  })

  it('reports an unknown role, and a server that is not Postgres', async () => {
    const stranger = new URL(fixture.databaseUrl)
    stranger.username = 'unknown_role'
    expect(await findingsAt(stranger.toString())).toMatchObject([
      { found: expect.stringContaining('unknown_role may not connect') },
    ])
    const other = createHttpServer((_request, response) => response.end('hello'))
    const port = await listening(other)
    expect(await findingsAt(`postgres://a@127.0.0.1:${port}/b`)).toMatchObject([
      { found: expect.stringContaining('no valid response from Postgres') },
    ])
    other.close()
  })

  it.each([
    ['28P01', /the password of ada is wrong/],
    ['53300', /has no free connection/],
    ['57P03', /is starting or stopping/],
    ['ENOTFOUND', /unknown host/],
  ])('explains the error %s', (code, pattern) => {
    const finding = findingOfUnreached('postgres://ada:pw@db:5432/tenure', { code, message: 'm' })
    expect(finding.found).toMatch(pattern)
    expect(finding.next).not.toBe('')
    expect(finding.found).not.toContain('pw')
  })

  it('reports an old version, foreign tables, missing privileges and exhausted connections', async () => {
    const { server, migrations } = await diagnosisOf(fixture.databaseUrl)
    const found = (change: Partial<typeof server>, begun = true) =>
      findingsOfServer(fixture.databaseUrl, { ...server, ...change }, { ...migrations, begun })
        .filter(({ state }) => state !== 'ok')
        .map((each) => each.found)
        .join()
    expect(found({})).toBe('')
    expect(found({ versionNumber: 130_011 })).toContain('Postgres 13.11 is too old')
    expect(found({ foreignTables: ['customers'] }, false)).toContain(
      'holds tables of another application: customers',
    )
    expect(found({ connections: 99, mostConnections: 100 })).toContain('99 of 100')
    const store = fixture.store
    await store.query(sql`revoke create on schema public from tenure_app`)
    const { server: asApplication } = await diagnosisOf(applicationUrl(fixture.databaseUrl))
    await store.query(sql`grant create on schema public to tenure_app`)
    expect(asApplication.mayCreate).toBe(false)
    expect(found(asApplication)).toContain('may not create tables')
  })

  it('reports pending, unknown, edited and missing migrations', async () => {
    const { store, databaseUrl } = fixture
    const found = async () =>
      of(
        findingsOfDatabase(databaseUrl, await diagnose(databaseUrl, 'test'), { running: false }),
        'migrations',
      )
        .map((each) => each.found)
        .join()
    await noteMigrations(store)
    expect(await found()).toBe('')
    await store.query(sql`update migrations set name = '0019_other' where name = '0019_audit'`)
    expect(await found()).toMatch(/0019_other, unknown to this build.*pending migrations: 0019_audit/)
    await store.query(sql`update migrations set name = '0019_audit' where name = '0019_other'`)
    await store.query(sql`
      update service_state set value = value || '{"0001_models": "another text"}' where name = 'migration_files'`)
    expect(await found()).toMatch(/edited after they ran: 0001_models/)
    await store.query(sql`delete from service_state where name = 'migration_files'`)
    expect(
      of(
        findingsOfDatabase('x', await diagnose(await freshDatabase(), 'test'), { running: false }),
        'migrations',
      ),
    ).toMatchObject([{ state: 'warning', found: 'the database is empty' }])
  })

  it.each([
    [100, 5, 'ok'],
    [-5_000, 5, 'warning'],
    [120_000, 5, 'broken'],
    // The query took too long for an estimate.
    [1_200, 2_000, 'ok'],
  ] as const)('rates a clock offset of %d ms', (clockOffsetMs, roundTripMs, state) => {
    expect(findingOfClock({ clockOffsetMs, roundTripMs }).state).toBe(state)
  })

  it('reports replicas that are missing, lag behind, or follow two epochs', () => {
    const replica = { id: 'r1', host: 'h', url: 'u', behind: [], epochs: [1] }
    const states = (...replicas: Parameters<typeof findingsOfReplicas>[0]) =>
      findingsOfReplicas(replicas, true).map(({ state }) => state)
    expect(states(replica)).toEqual(['ok'])
    expect(states()).toEqual(['broken'])
    expect(findingsOfReplicas([], false)[0]?.state).toBe('skipped')
    const frozen = { ...replica, id: 'b', silentMs: 72_000 }
    expect(findingsOfReplicas([replica, frozen], true)).toMatchObject([
      { state: 'warning', found: expect.stringContaining('1 of 2 alive: b on ') as string },
    ])
    expect(states({ ...replica, behind: ['iris: at 1/3, the newest is 1/4'] })).toEqual(['warning'])
    expect(states(replica, { ...replica, id: 'r2', epochs: [7] })).toEqual(['broken'])
  })

  it('finds live replicas', async () => {
    await fixture.store.query(sql`
      insert into replicas (id, host, pid, url, build_id, lease_ms, lease_until) values ('r9', 'h', 1, 'u', 'b', 0, now() + interval '1 hour')`)
    await fixture.store.query(sql`insert into routing (model, epoch, generation, route)
      select model, 3, 4, '{}' from champions on conflict do nothing`)
    const { replicas } = await diagnosisOf(fixture.databaseUrl)
    expect(replicas).toMatchObject([
      { id: 'r9', behind: [expect.stringContaining('the newest is 3/4')], epochs: [] },
    ])
    await fixture.store.query(
      sql`update replicas set lease_ms = 5000, lease_until = now() - interval '72 seconds' where id = 'r9'`,
    )
    const [silent] = (await diagnosisOf(fixture.databaseUrl)).replicas!
    expect(silent?.silentMs).toBeGreaterThan(70_000)
    await endLease(fixture.store, 'r9')
    expect((await diagnosisOf(fixture.databaseUrl)).replicas).toEqual([])
    await fixture.store.query(sql`delete from replicas where id = 'r9'`)
  })

  it('names open critical alerts until they are acknowledged', async () => {
    const warnings = async () => {
      const diagnosis = await diagnosisOf(fixture.databaseUrl)
      return of(findingsOfDatabase('x', diagnosis, { running: false }), 'alerts')
    }
    await fixture.store.query(sql`delete from alerts`)
    expect(await warnings()).toEqual([])
    await fixture.store.query(sql`
      insert into alerts (dedupe_key, severity, kind, message, model, resolved_at) values
        ('a', 'critical', 'audit_broken', 'm', null, null), ('b', 'critical', 'model_decay', 'm', 'iris', null),
        ('c', 'warning', 'drift', 'm', 'iris', null), ('d', 'critical', 'backup_failed', 'm', null, now())`)
    expect(await warnings()).toMatchObject([
      { state: 'warning', found: 'critical alerts are open: audit_broken, model_decay (iris)' },
    ])
    await fixture.store.query(sql`update alerts set acknowledged_at = now()`)
    expect(await warnings()).toEqual([])
    await fixture.store.query(sql`delete from alerts`)
  })
})

describe('the file checks', () => {
  it('report champions that are damaged or signed by another key', async () => {
    const { champions = [] } = await diagnosisOf(fixture.databaseUrl)
    const verifier = openPublicKeys(keyPlacesOf(fixture.artifactRoot), 'artifacts')
    const place = { artifacts: openArtifacts(fixture.artifactRoot), verifier }
    expect(await checkChampions(champions, place)).toMatchObject([{ state: 'ok' }])
    const stranger = await openSigner(keyPlacesIn(join(dir, 'other')), 'artifacts')
    expect(await checkChampions(champions, { ...place, verifier: stranger })).toMatchObject([
      {
        state: 'broken',
        found: expect.stringContaining(champion),
        next: expect.stringContaining('TENURE_TRUST'),
      },
    ])
    const hex = champions[0]!.artifactDigest.slice('sha256:'.length)
    const path = join(fixture.artifactRoot, 'sha256', hex.slice(0, 2), hex)
    const bytes = readFileSync(path)
    writeFileSync(path, 'damaged')
    expect(await checkChampions(champions, place)).toMatchObject([
      { state: 'broken', found: expect.stringContaining(champion) },
    ])
    writeFileSync(path, bytes)
  })

  it('report problems of artifacts, model files and embedded data', async () => {
    writeFileSync(join(dir, 'file'), '')
    expect(checkRoot(join(dir, 'file', 'below'), false)).toMatchObject({
      state: 'broken',
      next: expect.stringContaining('TENURE_ARTIFACTS'),
    })
    // The share of an installation that has run is not mounted; nothing is made in its place.
    expect(checkRoot(join(dir, 'absent'), true)).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('the folder of the artifacts is not mounted'),
    })
    expect(existsSync(join(dir, 'absent'))).toBe(false)
    expect(checkRoot(join(dir, 'absent'), false)).toMatchObject({ state: 'ok' })
    const models = join(dir, 'models')
    mkdirSync(models)
    writeFileSync(join(models, 'odd.ts'), 'export const odd = 1')
    expect(await checkModels({ directory: models })).toMatchObject([
      { state: 'broken', found: expect.stringContaining('models/odd.ts') },
    ])
    mkdirSync(join(dir, 'postgres'))
    writeFileSync(join(dir, 'postgres', 'PG_VERSION'), '17\n')
    expect(checkDataDirectory(dir, 18)).toMatchObject({
      state: 'broken',
      found: expect.stringContaining('version 17'),
    })
    expect(checkDataDirectory(dir, 17)).toMatchObject({ state: 'ok' })
  })
})

describe('the machine checks', () => {
  it.each([
    ['18.20.0', 'broken'],
    ['20.18.9', 'broken'],
    ['20.19.0', 'warning'],
    ['22.1.0', 'warning'],
    ['24.1.0', 'ok'],
    ['25.0.0', 'warning'],
  ] as const)('rate Node %s', (version, state) => expect(checkNode(version).state).toBe(state))

  it('rate available memory', () => {
    expect(checkMemory('MemAvailable:  100000 kB').state).toBe('broken')
    expect(checkMemory('MemAvailable:  800000 kB').state).toBe('warning')
    expect(checkMemory('MemAvailable: 8000000 kB').state).toBe('ok')
    expect(checkMemory('').state).toBe('skipped')
  })

  it('report a missing tool as broken only if it is needed now', () => {
    const remedy = 'Install it on Debian with:\n  apt-get install -y g++'
    expect(findingOfPart({ name: 'addon', lacks: ['g++'], remedy }).state).toBe('warning')
    expect(findingOfPart({ name: 'addon', fault: 'not built yet', lacks: ['g++'], remedy }).state).toBe(
      'broken',
    )
    expect(findingOfPart({ name: 'addon', fault: 'not built yet' }).next).toContain('npm run setup')
  })

  it('report a set-up that fails to run', async () => {
    vi.stubEnv('NODE_OPTIONS', '--no-such-option')
    const [finding] = await checkParts(new Set(), { verify: false })
    expect(finding).toMatchObject({
      check: 'set-up',
      state: 'broken',
      next: expect.stringContaining('npm run setup'),
    })
  })

  it('find a damaged cached file by size, or by hash with --verify', async () => {
    const cache = mkdtempSync(join(dir, 'cache-'))
    const part = join(cache, `temporal-1.5.1-server-1.29.7-${process.arch}`)
    mkdirSync(part)
    const file = join(part, 'temporal')
    writeFileSync(file, 'a program')
    const { size, mtimeMs } = statSync(file)
    const sha256 = createHash('sha256').update('another one').digest('hex')
    writeFileSync(
      join(part, 'receipt.json'),
      JSON.stringify({ files: [{ path: 'temporal', size, mtimeMs, sha256 }] }),
    )
    vi.stubEnv('TENURE_CACHE', cache)
    vi.stubEnv('TEMPORAL_CLI', '')
    vi.stubEnv('PATH', join(dir, 'empty'))
    const found = async (verify: boolean) =>
      (await checkParts(new Set(), { verify })).find(({ check }) => check === 'set-up: temporal')?.found
    expect(await found(false)).not.toContain('damaged')
    expect(await found(true)).toContain('temporal is damaged')
  })

  it('pass a free port', async () => {
    const port = await freePort()
    expect((await checkPort({ what: 'the API', port, variable: 'TENURE_PORT' })).state).toBe('ok')
  })

  it('pass the port of a replica that was started by itself', async () => {
    const listen = `net.createServer().listen(0, '127.0.0.1', function () { console.log(this.address().port) })`
    const replica = spawn(process.execPath, ['-e', listen, 'api/start.mjs'])
    const port = Number(await once(replica.stdout, 'data'))
    const finding = await checkPort({ what: 'the API', port, variable: 'TENURE_PORT' })
    replica.kill()
    expect(finding).toMatchObject({ state: 'ok', found: expect.stringContaining(`process ${replica.pid} `) })
  })
})
