/** Runs docs/how-to/projects/bundles.md from one installation to another, and triggers each refusal of a bundle. */
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { startServer, type RunningServer } from '../../../api/server.ts'
import { commands } from '../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { bundleOriginOf, issueOfForm } from '../../../domain/registry/bundle.ts'
import { issueOfBrought } from '../../../domain/model/brought-artifact.ts'
import { openBundle, readTar, writeTar } from '../../../store/bundles/bundle.ts'
import { listTrustedSigners, signersFolder } from '../../../store/bundles/trusted-signers.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { listVersions } from '../../../store/registry/versions.ts'
import { findOpenRelease } from '../../../store/release/releases.ts'
import { checkout, environmentWith, readConfig } from '../../../temporal.config.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { runCommand } from '../../support/command-line.ts'
import { blocksOf } from '../../support/docs/markdown.ts'
import { temporalAddress, uniqueName } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'

const model = uniqueName('roses')
let folder: string
let source: Pipeline
let target: Pipeline
let replica: RunningServer
let key: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-bundle-'))
  ;[source, target] = await Promise.all([openPipeline(), openPipeline()])
  for (const { store, models } of [source, target]) {
    await insertExampleRows(store, { from: 0, to: 40 })
    await syncExampleModel(store, models, { name: model })
  }
  const trained = await (await source.start({ model, asOf: exampleDay(35) })).result()
  expect(trained.version, trained.message).toBe(`${model}_v1.0.0`)
  const stageOf = async () => (await findOpenRelease(source.store, model))?.state.stage
  await until(async () => (await stageOf()) === 'awaiting_approval', 'the qualification')
  await source.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  const approvals = JSON.stringify([{ by: 'anna', atMs: Date.now(), reason: 'better' }])
  await source.store.query(sql`
    update releases set state = jsonb_set(state, '{approvals}', ${approvals}::jsonb) where model = ${model}`)
  replica = await startServer(
    readConfig({ ...environmentOf(target), TENURE_PORT: '0', TENURE_BUILD_ID: 'test' }),
    pino({ level: 'silent' }),
  )
  key = (await insertKey(target.store, { name: 'otto', role: 'operator' })).key
  await until(async () => (await fetch(`${replica.url}/readyz`)).ok, 'a replica that is ready')
})
afterEach(() => vi.unstubAllEnvs())
afterAll(async () => {
  await replica?.stop('the test ends')
  await source?.close()
  await target?.close()
  rmSync(folder, { recursive: true, force: true })
})

const environmentOf = ({ config }: Pipeline): Record<string, string> => ({
  DATABASE_URL: config.databaseUrl,
  TEMPORAL_ADDRESS: temporalAddress(),
  TENURE_CONTROL_QUEUE: config.taskQueues.control,
  TENURE_TRAIN_QUEUE: config.taskQueues.train,
  TENURE_STATE: folder,
  TENURE_KEYS: config.signing.keys,
  TENURE_TRUST: config.signing.trust,
  TENURE_ARTIFACTS: config.artifactRoot,
})
const on = (place: Pipeline): void => {
  for (const [name, value] of Object.entries(environmentOf(place))) vi.stubEnv(name, value)
  vi.stubEnv('TENURE_URL', replica.url)
  vi.stubEnv('TENURE_KEY', key)
}
const bundle = () => readFileSync(join(folder, 'iris.bundle'))
const trusted = () => listTrustedSigners(signersFolder(target.config.signing))

/** Runs a line of the page: `tenure` runs in this process, and `>` writes a file. */
async function type(line: string): Promise<string> {
  const [words = '', file] = line.split(' > ')
  if (!words.startsWith('npx tenure '))
    return execFileSync('sh', ['-c', line], { cwd: folder, env: environmentWith({}), encoding: 'utf8' })
  const named = [...words.slice('npx tenure '.length).matchAll(/"([^"]*)"|(\S+)/g)].map(
    ([, quoted, plain]) => quoted ?? plain!,
  )
  const inFolder = named.map((word) => (word.endsWith('.bundle') ? join(folder, word) : word))
  const { code, out, err } = await runCommand(commands, inFolder)
  expect([code, err], out).toEqual([exitCodes.done, ''])
  if (file !== undefined) writeFileSync(join(folder, file), out)
  return out
}

describe('the page', () => {
  const page = readFileSync(join(checkout, 'docs/how-to/projects/bundles.md'), 'utf8')
  const blocks = blocksOf(page)
  const onTarget = page.slice(0, page.indexOf('## On the target')).split('\n').length
  it.each(blocks.map((block) => [block.line, block.text.split('\n')[0]!, block] as const))(
    'line %d: %s',
    async (line, _text, { text, notes }) => {
      on(line < onTarget ? source : target)
      let shown = ''
      const typed = text
        .replaceAll('iris_v1.2.0', `${model}_v1.0.0`)
        // The rows of the example are of another year.
        .replace('--watch', `--as-of ${exampleDay(35)} --watch`)
      for (const each of typed.split('\n')) shown += await type(each)
      expect(shown).toContain(notes['shows'])
    },
  )

  it('has registered the version with what the source says, evaluated on the rows of the target', async () => {
    const [version] = await listVersions(target.store, { model })
    expect(version?.lineage).toMatchObject({
      origin: 'brought',
      requestedBy: 'otto',
      note: 'from staging',
      trainedOn: `bundle of ${model}_v1.0.0, signed by staging; approved there by anna`,
      bundle: { signer: 'staging', releases: [{ approvals: [{ by: 'anna', reason: 'better' }] }] },
    })
    const { rows } = await target.store
      .query<{ rows: number }>(sql`select count(*)::int as rows from evaluations where model = ${model}`)
      .then(([row]) => row!)
    expect(rows).toBe(1)
    expect(version?.lineage.metrics).not.toEqual({})
    // The predictions equal the source's.
    const [original] = await listVersions(source.store, { model })
    expect(version?.manifest.files).toEqual(original?.manifest.files)
  })

  it('has counted no approval of the source', async () => {
    const approvals = async () => (await findOpenRelease(target.store, model))?.state.approvals
    // The release opens shortly after the version is registered.
    await expect.poll(approvals).toEqual([])
  })
})

describe('a bundle is refused', () => {
  const send = async (bytes: Buffer) => {
    const sent = await fetch(`${replica.url}/v1/bundles`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/octet-stream' },
      body: new Uint8Array(bytes),
    })
    const { code, detail } = (await sent.json()) as { code: string; detail: string }
    return [sent.status, code, detail] as const
  }
  const changed = (name: string, change: (content: Buffer) => Buffer): Buffer => {
    const entries = new Map(readTar(bundle()))
    entries.set(name, change(entries.get(name) ?? Buffer.alloc(0)))
    return writeTar(entries)
  }
  const flipped = (content: Buffer): Buffer => {
    const copy = Buffer.from(content)
    copy[copy.length >> 1]! ^= 1
    return copy
  }
  const fileName = () => [...readTar(bundle()).keys()].find((name) => name.startsWith('files/'))!

  it.each([
    ['with changed weights', () => changed(fileName(), flipped), /files\/\w+ was changed after staging/],
    ['with another manifest', () => changed('manifest.json', flipped), /manifest\.json was changed/],
    [
      'with an approval that was added',
      () => changed('bundle.json', (text) => Buffer.from(text.toString().replace('"anna"', '"otto"'))),
      /bundle\.json was changed after staging had signed it/,
    ],
    ['with another signature', () => changed('bundle.sig', flipped), /bundle\.json was changed/],
    [
      'with an entry more',
      () => changed('note.txt', () => Buffer.from('x')),
      /"note\.txt", which is not signed/,
    ],
    ['that is truncated', () => bundle().subarray(0, 3_000), /truncated within/],
    ['without its end', () => bundle().subarray(0, -512), /truncated or overwritten at byte/],
    [
      'with bytes behind its end',
      () => Buffer.concat([bundle(), Buffer.alloc(512, 1)]),
      /bytes behind its end/,
    ],
    [
      'with more than fills a record',
      () => Buffer.concat([bundle(), Buffer.alloc(10_240)]),
      /bytes behind its end/,
    ],
    ['that is something else', () => Buffer.from('hello'), /it is not a bundle/],
  ])('%s', async (_name, make, said) => {
    expect(await send(make())).toEqual([422, 'bundle_invalid', expect.stringMatching(said)])
  })

  it('of an unknown signer, with the fingerprints', async () => {
    const pem = join(signersFolder(target.config.signing), 'staging.pem')
    const staging = readFileSync(pem)
    writeFileSync(
      pem,
      generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    )
    expect(await send(bundle())).toEqual([
      422,
      'bundle_untrusted',
      expect.stringMatching(
        /signed by the key SHA256:\S+, which is not trusted here; trusted are staging \(SHA256:/,
      ),
    ])
    writeFileSync(pem, 'no key')
    await expect(trusted()).rejects.toThrow('holds no Ed25519 public key in PEM')
    writeFileSync(pem, staging)
  })

  it('by a model of other features or answers', async () => {
    const { manifest, document, signer } = openBundle(bundle(), await trusted())
    const { features, output } = manifest
    const { size, ...fewer } = features
    expect(issueOfForm(manifest, { features, output })).toBeUndefined()
    expect(issueOfForm(manifest, { features: fewer, output })).toContain('no feature size')
    expect(issueOfForm(manifest, { features: { ...features, more: size! }, output })).toContain(
      'feature more',
    )
    expect(issueOfForm(manifest, { features, output: { kind: 'number' } })).toContain('answers')
    const brought = { file: 'manifest.json', digest: document.artifactDigest, bytes: 1 }
    expect(issueOfBrought({ ...brought, bundle: bundleOriginOf(document, signer) })).toBeUndefined()
    expect(issueOfBrought(brought)).toContain('"bundle"')
    expect(issueOfBrought({ ...brought, bundle: { version: 1 } })).toContain('"version" of its bundle')
  })

  it('a version that was rolled back is not exported, and no file is overwritten', async () => {
    on(source)
    const version = `${model}_v1.0.0`
    const again = await runCommand(commands, [
      'bundle',
      'export',
      version,
      '--to',
      join(folder, 'iris.bundle'),
    ])
    expect([again.code, again.err]).toEqual([exitCodes.usage, expect.stringContaining('already exists')])
    await source.store.query(sql`update versions set rolled_back_at = now() where version = ${version}`)
    const late = join(folder, 'late.bundle')
    const { code, err } = await runCommand(commands, ['bundle', 'export', version, '--to', late])
    expect([code, err]).toEqual([exitCodes.refused, expect.stringContaining('was rolled back')])
    expect(existsSync(late)).toBe(false)
  })
})
