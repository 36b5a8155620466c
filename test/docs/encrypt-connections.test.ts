/**
 * Runs docs/how-to/machines/encrypt-connections.md: its certificates, a replica with its settings, and a command with the client's
 * settings.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startServer, type RunningServer } from '../../api/server.ts'
import { createClient } from '../../cli/client/client.ts'
import { createApiFetch } from '../../store/tls/api-fetch.ts'
import { checkout, readCommandConfig, readConfig } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'
import { migratedDatabase } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'

const page = readFileSync(join(checkout, 'docs', 'how-to', 'machines', 'encrypt-connections.md'), 'utf8')
const blocks = blocksOf(page).map(({ text }) => text)
const folder = mkdtempSync(join(tmpdir(), 'tenure-encrypt-'))
const servers: RunningServer[] = []
beforeAll(() => {
  const makes = blocks.find((text) => text.startsWith('openssl'))!
  execFileSync('bash', ['-e', '-c', makes], { cwd: folder, stdio: 'pipe' })
})
afterAll(async () => {
  for (const server of servers) await server.stop('the test ends')
  rmSync(folder, { recursive: true })
})

/** Returns the variables that the `export` lines of a block set. */
function settingsOf(block: string): Record<string, string> {
  const lines = block.split('\n').filter((line) => line.startsWith('export '))
  const printed = execFileSync('bash', ['-c', `${lines.join('\n')}\nenv -0`], {
    cwd: folder,
    env: {},
  }).toString()
  const pairs = printed.split('\0').map((line) => line.split(/=(.*)/s) as [string, string])
  return Object.fromEntries(pairs.filter(([name]) => name.startsWith('TENURE_')))
}
const blockWith = (text: string): Record<string, string> =>
  settingsOf(blocks.find((each) => each.includes(text))!)

it('the replica serves with the certificate, requires client certificates, and the command passes', async () => {
  const environment = {
    DATABASE_URL: await migratedDatabase(),
    TENURE_STATE: join(folder, 'state'),
    TENURE_PORT: '0',
    ...blockWith('TENURE_TLS_KEY'),
    ...blockWith('TENURE_TLS_CLIENT_CA'),
  }
  const server = await startServer(readConfig(environment), pino({ level: 'silent' }))
  servers.push(server)
  const clientOf = (settings: Record<string, string>) =>
    createClient({ url: server.url, call: createApiFetch(readCommandConfig(settings).trust) })
  const told = { ...blockWith('TENURE_URL') }
  await until(async () => {
    const ready = await clientOf(told)
      .get('/readyz')
      .catch(() => undefined)
    return ready !== undefined
  }, 'a replica that is ready')
  await expect(clientOf({}).get('/readyz')).rejects.toThrow(/is not trusted/)
  await expect(clientOf(told).get('/v1/models')).rejects.toMatchObject({
    problem: { code: 'client_certificate_required' },
  })
  await expect(
    clientOf({ ...told, ...blockWith('TENURE_CLIENT_CERT') }).get('/v1/models'),
  ).rejects.toMatchObject({
    problem: { code: 'unauthenticated' },
  })
})
