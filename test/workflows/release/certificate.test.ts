/** Tests that the certificate of a real release is verified in an empty folder, by a process that has nothing of the installation. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { startServer } from '../../../api/server.ts'
import { certifyRelease } from '../../../api/services/release-certificate.ts'
import { commands } from '../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import type { CertificateFile } from '../../../domain/release/certificate.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { findLinks } from '../../../store/audit/audit-log.ts'
import { headFiles, openHeads } from '../../../store/audit/signed-heads.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { readConfig } from '../../../temporal.config.ts'
import { runCommand } from '../../support/command-line.ts'
import type { GatePolicy } from '../../../domain/evaluation/policy.ts'
import { digestOf, gateOfRows, profitPolicy } from '../../support/release/certificates.ts'
import { packCertificate } from '../../support/release/pack-certificate.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'
import { ownServers } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'

let fixture: ReleaseFixture
let place: string
let verifier: string
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  place = mkdtempSync(join(tmpdir(), 'certificate-'))
  verifier = packCertificate(place)
})
afterEach(() => vi.unstubAllEnvs())
afterAll(async () => {
  await fixture?.close()
  rmSync(place, { recursive: true, force: true })
})

/** Registers a version with the report of a real gate. */
async function judgedVersion(model: FixtureModel, champion: string, policy?: GatePolicy): Promise<string> {
  const version = await model.register(champion)
  const { report, inputs } = gateOfRows(policy)
  const [row] = await fixture.store.query<{ digest: string }>(
    sql`select artifact_digest as digest from versions where version = ${version}`,
  )
  const digest = digestOf({ report, inputs, artifactDigest: row!.digest, baseline: champion })
  await fixture.store.query(sql`
    update evaluations set report = ${JSON.stringify(report)}, inputs = ${JSON.stringify(inputs)}, report_digest = ${digest}
    where id = ${`e-${version}`}`)
  return version
}

async function deps() {
  const { config, store } = fixture
  const heads = openHeads(headFiles(config), await openSigner(config.signing, 'heads'))
  await heads.append((await findLinks(store, 0)).newest!)
  return { store, heads, certificateSigner: await openSigner(config.signing, 'certificates') }
}

/** The public keys of the installation. */
async function publicKeys(): Promise<string> {
  const { signing } = fixture.config
  const keys = await Promise.all(
    (['certificates', 'heads'] as const).map(
      async (each) => `# ${each}\n${(await openSigner(signing, each)).publicPem}`,
    ),
  )
  return keys.join('')
}

/** Writes the certificate and the keys, and verifies it in another process. */
function verified(certificate: CertificateFile, keys: string) {
  writeFileSync(join(place, 'keys.pem'), keys)
  writeFileSync(join(place, 'release.json'), JSON.stringify(certificate))
  const args = [join(verifier, 'certificate.mjs'), 'verify', 'release.json', '--key', 'keys.pem']
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: place,
    encoding: 'utf8',
    env: {},
  })
  return { status, said: `${stdout}${stderr}` }
}

it('the certificate of a release that a custom metric has decided is valid in an empty folder, and one with another count is not', async () => {
  const model = await fixture.model()
  const candidate = await judgedVersion(model, await model.releasedChampion(), profitPolicy)
  const release = await model.start(candidate)
  await release.reaches('awaiting_approval')
  await expect(certifyRelease(await deps(), release.id)).rejects.toMatchObject({ code: 'command_refused' })
  await release.say('approve', 'anna', { reason: 'anna said so' })
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  const certificate = await certifyRelease(await deps(), release.id)
  const { decisions, approvals, events, release: of } = certificate.statement.predicate
  expect(decisions.map(({ stage, verdict }) => [stage, verdict.kind])).toEqual([
    ['shadow', 'pass'],
    ['canary', 'pass'],
    ['canary', 'pass'],
    ['probation', 'pass'],
  ])
  expect([of.requestedBy, ...approvals.map(({ by }) => by)]).toEqual(['participant-1', 'participant-2'])
  expect(events.map(({ action }) => action)).toEqual([
    'release.opened',
    'command.recorded',
    'release.approve',
    'routing.changed',
    'routing.changed',
    'routing.changed',
    'champion.promoted',
    'release.ended',
  ])
  expect(JSON.stringify(certificate)).not.toMatch(/anna|olga/)
  expect(verified(certificate, await publicKeys())).toEqual({
    status: 0,
    said: expect.stringMatching(
      /^Valid: .*_v1\.1\.0 was promoted by release rel_\w+; 4 verdicts follow .* The values of profit are stated/,
    ),
  })
  certificate.statement.predicate.decisions[1]!.evidence.counted[0]!.errors[0]! += 1
  expect(verified(certificate, await publicKeys())).toEqual({
    status: 1,
    said: 'statement/predicate/decisions/1/evidence/counted/0/errors/0: is 1, but 0 was signed\nThe certificate is NOT valid.\n',
  })
  expect(readFileSync(join(verifier, 'dist', 'command.js'), 'utf8')).not.toContain('@tenure/')
})

it('a viewer exports the certificate of a rolled-back release, which names what is against the candidate', async () => {
  const model = await fixture.model()
  const candidate = await judgedVersion(model, await model.releasedChampion())
  model.traffic.invalid.set(candidate, 0.5)
  const release = await model.start(candidate, { shadow: false })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
  await deps()
  const { config, store } = fixture
  const environment = {
    DATABASE_URL: config.databaseUrl,
    TEMPORAL_ADDRESS: config.temporal.address,
    TENURE_STATE: config.stateDir,
    TENURE_KEYS: config.signing.keys,
    TENURE_TRUST: config.signing.trust,
    TENURE_ARTIFACTS: config.artifactRoot,
  }
  const { key } = await insertKey(store, { name: 'reader', role: 'viewer' })
  const replica = await startServer(
    readConfig({ ...environment, TENURE_PORT: '0', TENURE_BUILD_ID: 'test' }),
    pino({ level: 'silent' }),
  )
  try {
    await until(async () => (await fetch(`${replica.url}/readyz`)).ok, 'a replica that is ready')
    for (const [name, value] of Object.entries({ ...environment, TENURE_URL: replica.url, TENURE_KEY: key }))
      vi.stubEnv(name, value)
    const file = join(place, 'exported.json')
    const exporting = ['certificates', 'export', model.name, '--out', file]
    expect(await runCommand(commands, exporting)).toMatchObject({ code: exitCodes.done, err: '' })
    expect(await runCommand(commands, exporting)).toMatchObject({ code: exitCodes.usage })
    const printed = await runCommand(commands, ['certificates', 'key'])
    const certificate = JSON.parse(readFileSync(file, 'utf8')) as CertificateFile
    expect(certificate.statement.predicate.decisions.at(-1)).toMatchObject({
      verdict: {
        kind: 'fail',
        reasons: expect.arrayContaining([expect.objectContaining({ code: 'guard' })]),
      },
    })
    expect(verified(certificate, printed.out)).toMatchObject({
      status: 0,
      said: expect.stringContaining('was rolled back by release'),
    })
  } finally {
    await replica.stop('the test ends')
  }
})
