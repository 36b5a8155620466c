/**
 * Runs a NATS server with JetStream for tests, built once with Go and kept in the cache of this machine. Go verifies the sources by its
 * checksum database.
 */
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, nanos } from '@nats-io/transport-node'
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openNats } from '../../../api/streams/nats.ts'
import { freePort } from '@tenure/embedded'
import { cacheDir, environmentWith } from '../../../temporal.config.ts'
import { waitUntil } from '../serving/api-process.ts'
import { testTls, type TestTls } from './broker-certificates.ts'
import type { TestTopics } from './conformance.ts'

const version = '2.12.0'
const folder = join(cacheDir(), `nats-server-${version}`)
const program = join(folder, 'nats-server')

/** Builds the server when it is not in the cache. Returns why no server can start on this machine; undefined when one can. */
export function whyNoNats(): string | undefined {
  try {
    buildServer()
    return undefined
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'go is missing'
    if (error instanceof Error && 'status' in error) return 'Go cannot build the server'
    throw error
  }
}

/** Takes some minutes, once per machine. Go prints what it downloads. */
function buildServer(): void {
  if (existsSync(program)) return
  mkdirSync(cacheDir(), { recursive: true })
  const draft = mkdtempSync(join(cacheDir(), 'partial-nats-'))
  process.stderr.write(`Building nats-server ${version} for tests of streams (once) …\n`)
  try {
    execFileSync('go', ['install', `github.com/nats-io/nats-server/v2@v${version}`], {
      env: environmentWith({ GOPATH: draft, GOFLAGS: '-modcacherw' }),
      stdio: ['ignore', 2, 2],
    })
    const built = join(draft, 'built')
    mkdirSync(built)
    copyFileSync(join(draft, 'bin', 'nats-server'), join(built, 'nats-server'))
    renameSync(built, folder)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

export interface NatsServer {
  address: string
  pid(): number
  kill(): Promise<void>
  /** Starts a killed server on the same data and port. */
  start(password?: string): Promise<void>
  /** Present with `tls`. */
  tls?: TestTls
  /** Kills the server and starts it again on the same data and port. With `password`, only the user `tenure` is accepted. */
  restart(password?: string): Promise<void>
  stop(): Promise<void>
}

/** Starts a server. With `tls`, it accepts only clients with a certificate of its authority. */
export async function startNats({ tls = false } = {}): Promise<NatsServer> {
  buildServer()
  const home = mkdtempSync(join(tmpdir(), 'tenure-nats-'))
  const port = await freePort()
  const certificates = tls ? testTls(home) : undefined
  const named = ['--tlscert', 'broker.pem', '--tlskey', 'broker.key', '--tlscacert', 'ca.pem']
  const secure = tls
    ? ['--tls', '--tlsverify', ...named.map((each) => (each.startsWith('-') ? each : join(home, each)))]
    : []
  let server: ChildProcess | undefined
  let exited: Promise<unknown> | undefined
  const start = async (password?: string): Promise<void> => {
    const place = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', home]
    const login = password === undefined ? [] : ['--user', 'tenure', '--pass', password]
    server = spawn(program, [...place, ...login, ...secure], { stdio: 'ignore' })
    exited = once(server, 'exit')
    await waitUntil(
      () =>
        new Promise((resolve) => {
          const socket = connectSocket(port, '127.0.0.1')
          socket
            .once('error', () => resolve(false))
            .once('connect', () => {
              socket.destroy()
              resolve(true)
            })
        }),
      'the NATS server',
    )
  }
  const end = async (): Promise<void> => {
    server!.kill('SIGKILL')
    await exited
  }
  await start()
  return {
    address: `127.0.0.1:${port}`,
    pid: () => server!.pid!,
    kill: end,
    start,
    ...(certificates !== undefined && { tls: certificates }),
    async restart(password) {
      await end()
      await start(password)
    },
    async stop() {
      await end()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** Creates one subject with its own stream per topic; NATS has no partitions. */
export const natsTopics = (address: string, sessionMs = 1_500): TestTopics => ({
  keepsOrder: false,
  open: () => openNats({ servers: [address], sessionMs }),
  async create(_partitions, ...topics) {
    const connection = await connect({ servers: [address] })
    const manager = await jetstreamManager(connection)
    for (const topic of topics)
      await manager.streams.add({
        name: topic.replaceAll('.', '_'),
        subjects: [topic],
        duplicate_window: nanos(120_000),
      })
    await connection.close()
  },
  async read(topic) {
    const connection = await connect({ servers: [address] })
    const manager = await jetstreamManager(connection)
    const name = topic.replaceAll('.', '_')
    const { state } = await manager.streams.info(name)
    const found: Awaited<ReturnType<TestTopics['read']>> = []
    for (let seq = 1; seq <= state.last_seq; seq++) {
      const message = await manager.streams.getMessage(name, { seq })
      if (message === null) continue
      const names = message.header.keys()
      found.push({
        key: message.header.get('tenure-key'),
        value: message.string(),
        headers: Object.fromEntries(names.map((each) => [each, message.header.get(each)])),
      })
    }
    await connection.close()
    return found
  },
})
