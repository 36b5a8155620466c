/** Runs docs/how-to/projects/state-file.md against a whole replica, and triggers each refusal of a plan. */
import { Client } from '@temporalio/client'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { reportChangedByHand } from '../../../activities/worker/keep-running.ts'
import { startServer, type RunningServer } from '../../../api/server.ts'
import { checkAppliedState } from '../../../cli/doctor/servers.ts'
import { commands } from '../../../cli/commands/all-commands.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { insertKey, listKeys } from '../../../store/access/api-keys.ts'
import { listAudit, verifyAudit } from '../../../store/audit/audit-log.ts'
import { listApplied } from '../../../store/installation/applied-state.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import {
  copyStoredChannels,
  readCopiedChannels,
  readStoredChannels,
} from '../../../store/monitoring/alert-channels.ts'
import { checkout, readConfig } from '../../../temporal.config.ts'
import { runCommand } from '../../support/command-line.ts'
import { blocksOf } from '../../support/docs/markdown.ts'
import { connectTemporal, freshNamespace, temporalAddress } from '../../support/servers/servers.ts'
import { openServingFixture, until, type ServingFixture } from '../../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../../support/serving/sign-versions.ts'

let fixture: ServingFixture
let replica: RunningServer
let folder: string
let stateFile: string
const keys: Record<string, string> = {}
let variables: Record<string, string>

beforeAll(async () => {
  fixture = await openServingFixture()
  for (const role of ['admin', 'operator'] as const) keys[role] = await fixture.key({ role, name: role })
  folder = mkdtempSync(join(tmpdir(), 'tenure-state-'))
  stateFile = join(folder, 'tenure.state.yaml')
  variables = {
    DATABASE_URL: fixture.databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress(),
    TENURE_STATE: folder,
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    TENURE_PORT: '0',
  }
})
beforeEach(async () => {
  if (variables['TEMPORAL_NAMESPACE'] === undefined) {
    variables['TEMPORAL_NAMESPACE'] = await freshNamespace()
    replica = await startServer(
      readConfig({ ...variables, TENURE_BUILD_ID: 'test' }),
      pino({ level: 'silent' }),
    )
    await until(async () => (await fetch(`${replica.url}/readyz`)).ok, 'a replica that is ready')
  }
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  vi.stubEnv('TENURE_URL', replica.url)
  as('admin')
})
afterEach(() => vi.unstubAllEnvs())
afterAll(async () => {
  await replica?.stop('the test ends')
  await fixture.close()
  rmSync(folder, { recursive: true, force: true })
})

const as = (name: string) => vi.stubEnv('TENURE_KEY', keys[name])
/** Splits a command line, with the paths of the test's folder. */
const run = (...words: string[]) => {
  const isOurs = words[0] === 'plan' || words[0] === 'apply'
  const named = words.map((word) => (word.endsWith('.json') ? join(folder, word) : word))
  const saved = words.some((word, at) => word.endsWith('.json') && words[at - 1] !== '--out')
  return runCommand(commands, isOurs && !saved ? [...named, '--file', stateFile] : named)
}
const write = (text: string) => writeFileSync(stateFile, text)
const edit = (from: string, to: string) => {
  const text = readFileSync(stateFile, 'utf8')
  expect(text).toContain(from)
  write(text.replace(from, to))
}
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)
const send = (who: string, change: object) =>
  fetch(`${replica.url}/v1/state`, {
    method: 'POST',
    headers: { authorization: `Bearer ${keys[who]}`, 'content-type': 'application/json' },
    body: JSON.stringify({ reason: 'r', changes: [change] }),
  })
const audit = async () => (await listAudit(fixture.store, {})).map(({ action }) => action)

it('a plan without a state file says where it must be, and what to do', async () => {
  const missing = join(folder, 'other.yaml')
  const { code, err } = await runCommand(commands, ['plan', '--file', missing])
  expect(code).not.toBe(exitCodes.done)
  expect(err).toContain(`there is no state file ${missing}`)
  expect(err).toContain('name another with --file')
  expect(err).not.toContain('ENOENT')
})

describe('the page', () => {
  const blocks = blocksOf(readFileSync(join(checkout, 'docs/how-to/projects/state-file.md'), 'utf8'))
  it('has an expectation for each block', () =>
    expect(blocks.every(({ notes }) => notes['file'] ?? notes['shows'])).toBe(true))

  it.each(blocks.map((block) => [block.line, block.text.split('\n')[0]!, block] as const))(
    'line %d: %s',
    async (_line, _text, { text, notes }) => {
      if (notes['file'] !== undefined) return write(text)
      let shown = ''
      for (const line of text.split('\n')) {
        const { code, out, err } = await run(...wordsOf(line.replace(/^npx tenure /, '')))
        expect([err, code]).toEqual(['', exitCodes.done])
        shown += out
      }
      expect(shown).toContain(notes['shows'])
    },
  )

  it('has left one audit row for each change, by the acting key, in a whole chain', async () => {
    const rows = (await listAudit(fixture.store, {})).toReversed()
    expect(rows.map(({ action, actor }) => `${action} by ${actor}`)).toEqual([
      'key.created by admin',
      'key.created by admin',
      'channel.added by admin',
      'schedule.changed by admin',
      'state.recorded by admin',
      'state.recorded by admin',
      'kill_switch.set by admin',
      'kill_switch.set by admin',
    ])
    expect((await verifyAudit(fixture.store)).breach).toBeUndefined()
  })

  it('has paused the schedule, and given the keys their roles', async () => {
    const connection = await connectTemporal()
    const client = new Client({ connection, namespace: variables['TEMPORAL_NAMESPACE'] })
    expect((await client.schedule.getHandle('retrain/iris').describe()).state.paused).toBe(true)
    await connection.close()
    const made = (await listKeys(fixture.store)).filter(({ name }) => name === 'shop')
    expect(made).toMatchObject([{ role: 'predictor', models: ['iris'], requestsPerSecond: 100, burst: 100 }])
  })
})

describe('a plan', () => {
  it('exits with 6 for --check when a role differs, and prints the diff', async () => {
    edit('ada: { role: approver }', 'ada: { role: operator }')
    const { code, out } = await run('plan', '--check')
    expect(code).toBe(exitCodes.otherwise)
    expect(out).toContain('~ key ada\n    role: approver → operator\n')
  })

  it('that is saved is refused when the installation has changed since', async () => {
    await run('plan', '--out', 'role.json')
    await fixture.store.query(sql`update api_keys set role = 'viewer' where name = 'ada'`)
    const { code, err } = await run('apply', 'role.json')
    expect(code).toBe(exitCodes.refused)
    expect(err).toContain('plan_stale')
  })

  it('reports a role that was changed manually; so do the doctor and an alert, until the plan is applied', async () => {
    expect((await run('plan')).out).toContain('! key ada: role: approver → viewer')
    expect(await checkAppliedState(fixture.databaseUrl)).toMatchObject([
      { state: 'warning', found: 'changed since the last `tenure apply`: key ada' },
    ])
    expect(await reportChangedByHand(fixture.store)).toEqual(['key ada'])
    const alerts = async () => (await listAlerts(fixture.store, { open: true })).map(({ kind }) => kind)
    expect(await alerts()).toContain('changed_by_hand')
    expect((await run('apply', '--yes')).out).toContain('changed key ada')
    expect(await reportChangedByHand(fixture.store)).toEqual([])
    expect(await alerts()).not.toContain('changed_by_hand')
    expect((await checkAppliedState(fixture.databaseUrl))[0]?.state).toBe('ok')
  })

  it('shows which limit of a policy differs, and syncs the model', async () => {
    await fixture.store.query(sql`
      update models set code_digest = 'by hand', definition = jsonb_set(definition, '{release,watch,tickMs}', '7') where name = 'iris'`)
    const { out } = await run('plan')
    expect(out).toMatch(/! model iris: code: sha256:\w+ → by hand/)
    expect(await reportChangedByHand(fixture.store)).toEqual(['model iris'])
    const raised = (await listAlerts(fixture.store, { open: true })).find(
      ({ kind }) => kind === 'changed_by_hand',
    )
    expect(raised?.message).toContain('model iris by `tenure models sync`')
    expect(out).toMatch(/~ model iris\n(.*\n)*? {4}release\.watch\.tickMs: 7 → \d+\n/)
    expect((await run('apply', '--yes')).code).toBe(exitCodes.done)
    expect((await run('plan', '--check')).code).toBe(exitCodes.done)
  })

  it('keeps what the file does not name, and deletes it with --prune', async () => {
    await insertKey(fixture.store, { name: 'temporary', role: 'viewer' })
    edit('  ada: { role: operator }\n', '  ada: { role: operator }\n  admin: { role: admin }\n')
    expect((await run('plan')).out).toContain('kept (--prune deletes): key operator, key temporary.')
    const { out, code } = await run('apply', '--yes', '--prune')
    expect([code, out]).toEqual([exitCodes.done, expect.stringContaining('deleted key temporary')])
    expect((await listKeys(fixture.store)).find(({ name }) => name === 'temporary')?.revokedAt).toBeDefined()
    keys['operator'] = await fixture.key({ role: 'operator', name: 'operator' })
  })

  it('does not revoke the key that applies it', async () => {
    edit('  admin: { role: admin }\n', '')
    const { out } = await run('plan')
    expect(out).toMatch(/The acting key admin is not in \S+: name it there before you use --prune\./)
    expect(out).not.toContain('key admin.')
    const before = await audit()
    for (const words of [['plan'], ['apply', '--yes']]) {
      const { code, err } = await run(...words, '--prune')
      expect([code, err]).toEqual([exitCodes.refused, expect.stringContaining('would revoke the key admin')])
    }
    expect(await audit()).toEqual(before)
  })

  it('of keys and channels needs an admin key; one of kill switches does not', async () => {
    await until(async () => {
      as('operator')
      return (await run('kill-switches')).code === exitCodes.done
    }, 'the key')
    const { code, err } = await run('plan')
    expect([code, err]).toEqual([
      exitCodes.refused,
      expect.stringContaining('may not read keys and channels'),
    ])
    const before = await listApplied(fixture.store)
    write('killSwitches: { roses: champion }\n')
    for (const words of [['plan'], ['apply', '--yes']])
      expect(await run(...words)).toMatchObject({
        code: exitCodes.notFound,
        err: expect.stringContaining('"roses"'),
      })
    write('killSwitches: { iris: normal }\n')
    expect((await run('apply', '--yes')).code).toBe(exitCodes.done)
    const sent = await send('operator', { kind: 'key', name: 'x', after: { role: 'admin' } })
    expect(sent.status).toBe(403)
    // Sections that the operator cannot read stay recorded.
    const ofKeys = (all: typeof before) => all.filter(({ kind }) => kind === 'key' || kind === 'channel')
    expect(ofKeys(await listApplied(fixture.store))).toEqual(ofKeys(before))
  })

  it.each([
    ['stale', { name: 'ada', before: { role: 'viewer' }, after: { role: 'admin' } }, 409, 'plan_stale'],
    ['without a value', { name: 'ada' }, 400, 'invalid_request'],
    ['with an unknown role', { name: 'bob', after: { role: 'king' } }, 400, 'invalid_request'],
    [
      'with a time that is past',
      { name: 'bob', after: { role: 'viewer', expiresAt: '2020-01-01T00:00:00Z' } },
      409,
      'command_refused',
    ],
    ['with a burst alone', { name: 'bob', after: { role: 'viewer', burst: 5 } }, 400, 'invalid_request'],
  ])('that is sent %s is refused by the API', async (_name, change, status, code) => {
    const sent = await send('admin', { ...change, kind: 'key' })
    expect([sent.status, ((await sent.json()) as { code: string }).code]).toEqual([status, code])
  })

  it('is not applied without a terminal, --yes or a saved plan', async () => {
    write('killSwitches: { iris: champion }\n')
    const { code, err } = await run('apply')
    expect([code, err]).toEqual([exitCodes.usage, expect.stringContaining('Add --yes')])
  })

  it.each([
    [
      'a secret',
      'channels: { chat: { target: { kind: slack, url: "https://chat.example/T0/B0" } } }',
      'is secret',
    ],
    [
      'a password in an address',
      'channels: { mail: { target: { kind: email, smtp: "smtp://u:secret1@mail", from: a@b, to: [c@d] } } }',
      'smtp: holds a secret',
    ],
    ['an unknown role', 'keys: { ada: { role: king } }', 'keys.ada.role'],
    ['an unknown section', 'kees: {}', 'kees'],
    ['a broken line', 'keys: { ada: { role', 'at line 1'],
    ['a schedule by another name', 'schedules: { iris.retrain: paused }', 'retrain/<model>, drill/<model>'],
    ['a missing model', 'models: [nothing]', 'no model file defines nothing'],
  ])('refuses %s in the file by name', async (_name, text, said) => {
    write(text)
    const { code, err } = await run('plan')
    expect([code, err]).toEqual([exitCodes.usage, expect.stringContaining(said)])
    expect(err).not.toMatch(/secret1|T0\/B0/)
  })
})

it.each([['plan'], ['apply', '--yes']])(
  '%s of an unknown schedule names those that exist',
  async (...words) => {
    write('schedules: { retrain/irs: paused, score/iris/nights: paused }\n')
    const { code, err } = await run(...words)
    expect([code, err]).toEqual([
      exitCodes.notFound,
      expect.stringMatching(/no schedule retrain\/irs: .*; the schedules are .*\bretrain\/iris\b/),
    ])
  },
)

it('a sync of unchanged model files is no change by hand', async () => {
  expect((await run('models', 'sync')).code).toBe(exitCodes.done)
  expect((await listApplied(fixture.store)).map(({ name }) => name)).toContain('iris')
  expect(await reportChangedByHand(fixture.store)).not.toContain('model iris')
})

it('a stored channel reads its secret from the folder, also from a copy that holds none, and reports when it is missing', async () => {
  const empty = await readStoredChannels(fixture.store, join(folder, 'secrets'))
  expect(empty).toEqual({
    channels: [],
    problems: [expect.stringMatching(/slack-url .*cannot be read \(ENOENT\)/)],
  })
  writeFileSync(join(folder, 'slack-url'), 'https://chat.example/hooks/1\n')
  expect(await readStoredChannels(fixture.store, folder)).toMatchObject({
    channels: [{ name: 'on-call', target: { kind: 'slack', url: 'https://chat.example/hooks/1' } }],
    problems: [],
  })
  await copyStoredChannels(fixture.store, folder)
  const copy = join(folder, 'cache', 'alert-channels.json')
  expect(readFileSync(copy, 'utf8')).toContain('slack-url')
  expect(readFileSync(copy, 'utf8')).not.toContain('hooks/1')
  expect(statSync(copy).mode & 0o777).toBe(0o600)
  expect(await readCopiedChannels(folder, folder)).toMatchObject([
    { name: 'on-call', target: { kind: 'slack', url: 'https://chat.example/hooks/1' } },
  ])
  writeFileSync(join(folder, 'slack-url'), 'no address\n')
  expect((await readStoredChannels(fixture.store, folder)).problems).toEqual([
    expect.stringMatching(/^the channel on-call: target.url/),
  ])
})
