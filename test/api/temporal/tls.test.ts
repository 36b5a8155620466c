/** Tests the connections of a replica, a worker and a command to a Temporal that requires a client certificate. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createServer, type Server } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTemporalClient } from '../../../api/temporal/client.ts'
import { checkTemporal } from '../../../cli/doctor/temporal.ts'
import { environmentWith, launcher, readConfig } from '../../../temporal.config.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import { createAuthority, type IssuedCertificate } from '../../support/signing/certificates.ts'

const directory = mkdtempSync(join(tmpdir(), 'tenure-temporal-tls-'))
let endpoint: Server
let environment: Record<string, string>
let stranger: IssuedCertificate
let worker: ChildProcess | undefined

beforeAll(async () => {
  const authority = createAuthority(directory)
  const issued = authority.issue('frontend', 'DNS:temporal.test')
  const caller = authority.issue('caller')
  stranger = createAuthority(directory, 'other').issue('stranger')
  const [host, port] = temporalAddress().split(':')
  endpoint = createServer(
    {
      cert: readFileSync(issued.cert),
      key: readFileSync(issued.key),
      ca: readFileSync(authority.ca),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ['h2'],
    },
    (socket) => {
      const plain = connect(Number(port), host)
      socket.pipe(plain).pipe(socket)
      for (const each of [socket, plain])
        each.on('error', () => {
          socket.destroy()
          plain.destroy()
        })
    },
  )
  endpoint.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve))
  const queue = uniqueName('queue')
  environment = {
    DATABASE_URL: await migratedDatabase(),
    TENURE_STATE: join(directory, 'state'),
    TENURE_CONTROL_QUEUE: queue,
    TEMPORAL_ADDRESS: `127.0.0.1:${(endpoint.address() as AddressInfo).port}`,
    // A compiled worker loads the failure converter by its path.
    TENURE_PAYLOAD_KEYS: `a:${Buffer.alloc(32, 1).toString('base64')}`,
    TEMPORAL_TLS_SERVER_NAME: 'temporal.test',
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: authority.ca,
    TEMPORAL_TLS_CLIENT_CERT_PATH: caller.cert,
    TEMPORAL_TLS_CLIENT_KEY_PATH: caller.key,
  }
})
afterAll(async () => {
  if (worker?.exitCode === null) {
    worker.kill('SIGKILL')
    await new Promise((resolve) => worker!.once('exit', resolve))
  }
  endpoint.close()
  rmSync(directory, { recursive: true, force: true })
})

const pingOf = async (changes: Record<string, string>, withinMs = 20_000): Promise<string> => {
  const client = createTemporalClient(readConfig({ ...environment, ...changes }))
  try {
    await client.call(withinMs, ({ workflowService }) => workflowService.getSystemInfo({}))
    return 'reached'
  } catch (error) {
    expect(error).toMatchObject({ code: 'temporal_unavailable' })
    return 'refused'
  } finally {
    await client.close()
  }
}

it('a replica is admitted by its certificate alone, and admits no other authority and no other name', async () => {
  expect(await pingOf({})).toBe('reached')
  const others: Record<string, string>[] = [
    { TEMPORAL_TLS_CLIENT_CERT_PATH: stranger.cert, TEMPORAL_TLS_CLIENT_KEY_PATH: stranger.key },
    { TEMPORAL_TLS_SERVER_CA_CERT_PATH: join(directory, 'other.pem') },
    { TEMPORAL_TLS_SERVER_NAME: 'another.test' },
  ]
  for (const changes of others) expect(await pingOf(changes, 1_000)).toBe('refused')
})

it('a file that cannot be read is named at the start', () => {
  expect(() => readConfig({ ...environment, TEMPORAL_TLS_CLIENT_KEY_PATH: '/absent.key' })).toThrow(
    /TEMPORAL_\*: .*absent\.key/,
  )
})

it('a worker runs a workflow, and doctor sees it, by a certificate', async () => {
  worker = spawn(process.execPath, [launcher, 'activities/worker.ts', 'control'], {
    env: environmentWith(environment),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  createInterface({ input: worker.stdout! }).on('line', (line) => lines.push(line))
  await until(
    () => lines.some((line) => line.includes('the worker takes tasks')),
    'a worker that takes tasks',
  )
  const config = readConfig(environment)
  const client = createTemporalClient(config)
  try {
    const order = { workflowId: uniqueName('ready'), taskQueue: client.taskQueue }
    await client.call(30_000, ({ workflow }) => workflow.execute('warmUp', order))
  } finally {
    await client.close()
  }
  const findings = await checkTemporal(config, { workersExpected: false })
  expect(findings.find(({ check }) => check === 'temporal')).toMatchObject({ state: 'ok' })
})
