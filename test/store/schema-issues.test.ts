/** Tests that files of settings are told what is wrong in plain English, and without their values. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseStateFile } from '../../store/installation/state-file.ts'
import { parseChannel, readChannels } from '../../store/monitoring/alert-channels.ts'

it.each<[unknown, string]>([
  [[], 'is a list, not an object'],
  [{ bogus: 1 }, 'has the unknown field "bogus"'],
  [
    { keys: { x: { role: 'nope' } } },
    'keys.x.role: is not one of "viewer", "predictor", "labeller", "developer", "operator", "approver", "admin"',
  ],
  [
    { keys: { 'a b': { role: 'viewer' } } },
    'keys.a b: is the name of a key: 1 to 100 letters, digits and . _ @ -',
  ],
  [{ schedules: { iris: 5 } }, 'schedules.iris: is not one of "running", "paused"'],
  [
    { channels: { c: { target: { kind: 'x' } } } },
    'channels.c.target.kind: is not one of "slack", "webhook", "alertmanager", "email"',
  ],
])('a state file of %j', (given, message) => {
  expect(() => parseStateFile(given, 'tenure.state.yaml')).toThrow(
    expect.objectContaining({ code: 'configuration_invalid', message: `tenure.state.yaml: ${message}` }),
  )
})

it.each<[unknown, string]>([
  [
    { kind: 'webhook', url: 5, secret: 'short' },
    'target.url: is a number, not a text; target.secret: has fewer',
  ],
  [{ kind: 'webhook', url: 'nowhere' }, 'target.url: is not a URL'],
  [{ url: 'http://x' }, 'target.kind: is missing'],
  [null, 'target: is null, not an object'],
])('an alert channel to %j', (target, message) => {
  expect(() => parseChannel({ name: 'ops', target }, 'ops')).toThrow(`the channel ops: ${message}`)
})

it('a file of alert channels with a secret', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-channels-'))
  const file = join(folder, 'channels.json')
  writeFileSync(file, JSON.stringify([{ name: 'ops', target: { kind: 'slack', url: 7, token: 'xoxb-1' } }]), {
    mode: 0o600,
  })
  const told = await readChannels(file).catch((error: Error) => error.message)
  rmSync(folder, { recursive: true })
  expect(told).toBe(`${file}: 0.target.url: is a number, not a text; 0.target: has the unknown field "token"`)
})
