/** Builds the OpenTelemetry collector from its Go modules once into the cache of this machine, and receives what it exports. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { json } from 'node:stream/consumers'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { freePort } from '@tenure/embedded'
import { takeLock } from '@tenure/embedded/install/lock'
import { digestOfJson } from '../../../store/artifacts.ts'
import { cacheDir, checkout, environmentWith } from '../../../temporal.config.ts'

const buildMs = 1_200_000

/** Returns the program, or why it cannot be built: without Go or a network the test is skipped. */
export async function collectorOrReason(): Promise<{ program: string } | { reason: string }> {
  const source = join(checkout, 'test', 'interop', 'otlp', 'collector')
  const files = ['main.go', 'go.mod', 'go.sum'].map((name) => readFileSync(join(source, name), 'utf8'))
  const program = join(cacheDir(), 'interop', `otelcol-${digestOfJson(files).slice('sha256:'.length)}`)
  mkdirSync(dirname(program), { recursive: true })
  const release = await takeLock(`${program}.lock`)
  try {
    if (existsSync(program)) return { program }
    const options = { cwd: source, env: environmentWith({}), timeout: buildMs }
    await promisify(execFile)('go', ['build', '-o', `${program}.new`, '.'], options)
    renameSync(`${program}.new`, program)
    return { program }
  } catch (error) {
    return { reason: (error as Error).message.slice(0, 200) }
  } finally {
    release()
  }
}

type Attributes = Record<string, unknown>

/** An entry at the end of a path of lists in the received data. */
export interface ReceivedEntry extends Record<string, unknown> {
  name: string
  /** Resource attributes of the sending process. */
  resource: Attributes
}

export interface RealCollector {
  url: string
  /** The collector's exports, each entry with the attributes of its resource. */
  spans: ReceivedEntry[]
  metrics: ReceivedEntry[]
  logs: ReceivedEntry[]
  /** Warnings and errors of the collector. */
  complaints: string[]
  stop(): Promise<void>
}

interface Entry {
  key: string
  value: Record<string, unknown>
}
type Scopes = Record<string, ReceivedEntry[]>
type Resource = { resource: { attributes: Entry[] } } & Record<string, Scopes[]>

/** Starts the collector with a receiver of its exports. */
export async function startRealCollector(program: string): Promise<RealCollector> {
  const got = { spans: [], metrics: [], logs: [] } as Pick<RealCollector, 'spans' | 'metrics' | 'logs'>
  const names = {
    '/v1/traces': ['resourceSpans', 'scopeSpans', 'spans', got.spans],
    '/v1/metrics': ['resourceMetrics', 'scopeMetrics', 'metrics', got.metrics],
    '/v1/logs': ['resourceLogs', 'scopeLogs', 'logRecords', got.logs],
  } as const
  const sink = createServer((request, response) => {
    void json(request).then((body) => {
      const [outer, middle, inner, into] = names[request.url as keyof typeof names]
      for (const each of (body as Record<string, Resource[]>)[outer] ?? []) {
        const resource = Object.fromEntries(
          each.resource.attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
        )
        for (const scope of each[middle] ?? [])
          into.push(...(scope[inner] ?? []).map((entry) => ({ ...entry, resource })))
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(sink, 'listening')
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'tenure-otelcol-'))
  const pipeline = { receivers: ['otlp'], exporters: ['otlp_http'] }
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
    exporters: {
      otlp_http: {
        endpoint: `http://127.0.0.1:${(sink.address() as AddressInfo).port}`,
        encoding: 'json',
        compression: 'none',
      },
    },
    service: {
      telemetry: { metrics: { level: 'none' } },
      pipelines: { traces: pipeline, metrics: pipeline, logs: pipeline },
    },
  }
  // JSON is valid YAML.
  writeFileSync(join(folder, 'collector.yaml'), JSON.stringify(config))
  const child = spawn(program, ['--config', join(folder, 'collector.yaml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const exited = once(child, 'exit')
  const complaints: string[] = []
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (line.includes('Everything is ready')) resolve()
      if (!/\t(info|debug)\t/.test(line)) complaints.push(line)
    })
    child.once('exit', () => reject(new Error(complaints.join('\n'))))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    ...got,
    complaints,
    async stop() {
      child.kill()
      await exited
      sink.closeAllConnections()
      sink.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
