/**
 * Serves the part of the MLflow REST API that Tenure uses, with the response shapes of server version 3.17. Rejects what the real server
 * rejects. The real server takes minutes to start and a gigabyte to install.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'

export interface MlflowServer {
  url: string
  /** Method and path of each request so far. */
  asked: string[]
  /** Answers every request with this status; undefined restores the usual responses. */
  failWith(status: number | undefined): void
  stop(): Promise<void>
}

const tag = z.strictObject({ key: z.string().regex(/^[\w./ -]{1,250}$/), value: z.string().max(8_000) })
const millis = z.number().int().min(1_000_000_000_000)

interface State {
  experiments: string[]
  runs: Map<
    string,
    {
      experiment: string
      name: string
      status: string
      start: number
      end?: number
      params: Map<string, string>
      metrics: Map<string, { key: string; value: number; step: number; timestamp: number }>
      tags: Map<string, string>
    }
  >
  models: Map<
    string,
    { versions: { source: string; runId: string; tags: Map<string, string> }[]; aliases: Map<string, string> }
  >
}

type Refuse = (status: number, code: string) => never
type Handler = (body: unknown, state: State, refuse: Refuse) => unknown

/** Wraps a handler so that it accepts only a body of this shape. */
const taking =
  <T>(shape: z.ZodType<T>, handle: (body: T, state: State, refuse: Refuse) => unknown): Handler =>
  (body, state, refuse) => {
    const parsed = shape.safeParse(body)
    return parsed.success ? handle(parsed.data, state, refuse) : refuse(400, 'INVALID_PARAMETER_VALUE')
  }

const pairs = (map: ReadonlyMap<string, string>) => [...map].map(([key, value]) => ({ key, value }))
const gone = 'RESOURCE_DOES_NOT_EXIST'
const there = 'RESOURCE_ALREADY_EXISTS'
const tagFilter = /tags\.`([\w.]+)` = '([^']*)'$/

const runOf = (state: State, id: string, refuse: Refuse) => state.runs.get(id) ?? refuse(404, gone)
const modelOf = (state: State, name: string, refuse: Refuse) => state.models.get(name) ?? refuse(404, gone)
const runAnswer = (id: string, run: NonNullable<ReturnType<State['runs']['get']>>) => ({
  info: {
    run_id: id,
    run_uuid: id,
    run_name: run.name,
    experiment_id: run.experiment,
    status: run.status,
    start_time: run.start,
    end_time: run.end,
  },
  data: { params: pairs(run.params), metrics: [...run.metrics.values()], tags: pairs(run.tags) },
})
const versionAnswer = (
  name: string,
  at: number,
  { source, runId, tags }: { source: string; runId: string; tags: Map<string, string> },
) => ({
  name,
  version: String(at + 1),
  source,
  run_id: runId,
  tags: pairs(tags),
})

const handlers: Record<string, Handler> = {
  'GET experiments/get-by-name': taking(
    z.strictObject({ experiment_name: z.string() }),
    ({ experiment_name: name }, state, refuse) => {
      const at = state.experiments.indexOf(name)
      return at < 0 ? refuse(404, gone) : { experiment: { experiment_id: String(at + 1), name } }
    },
  ),
  'POST experiments/create': taking(
    z.strictObject({ name: z.string().min(1) }),
    ({ name }, state, refuse) => {
      if (state.experiments.includes(name)) refuse(400, there)
      return { experiment_id: String(state.experiments.push(name)) }
    },
  ),
  'POST runs/create': taking(
    z.strictObject({
      experiment_id: z.string(),
      run_name: z.string(),
      start_time: millis,
      tags: z.array(tag),
    }),
    (body, state) => {
      const id = `run${state.runs.size + 1}`
      const run = {
        experiment: body.experiment_id,
        name: body.run_name,
        status: 'RUNNING',
        start: body.start_time,
        params: new Map<string, string>(),
        metrics: new Map(),
        tags: new Map(body.tags.map(({ key, value }) => [key, value])),
      }
      state.runs.set(id, run)
      return { run: runAnswer(id, run) }
    },
  ),
  'POST runs/search': taking(
    z.strictObject({
      experiment_ids: z.array(z.string()),
      filter: z.string().regex(tagFilter),
      max_results: z.number().int().positive(),
    }),
    (body, state) => {
      const [, key = '', value] = tagFilter.exec(body.filter) ?? []
      const found = [...state.runs].filter(
        ([, run]) => body.experiment_ids.includes(run.experiment) && run.tags.get(key) === value,
      )
      return found.length === 0
        ? {}
        : { runs: found.slice(0, body.max_results).map(([id, run]) => runAnswer(id, run)) }
    },
  ),
  'POST runs/log-batch': taking(
    z
      .strictObject({
        run_id: z.string(),
        params: z.array(z.strictObject({ key: z.string(), value: z.string().max(6_000) })).max(100),
        metrics: z
          .array(
            z.strictObject({ key: z.string(), value: z.number(), timestamp: millis, step: z.number().int() }),
          )
          .max(1_000),
        tags: z.array(tag).max(100),
      })
      .refine(({ params, metrics, tags }) => params.length + metrics.length + tags.length <= 1_000),
    (body, state, refuse) => {
      const run = runOf(state, body.run_id, refuse)
      for (const { key, value } of body.params) {
        // MLflow accepts each parameter once.
        if ((run.params.get(key) ?? value) !== value) refuse(400, 'INVALID_PARAMETER_VALUE')
        run.params.set(key, value)
      }
      for (const each of body.metrics) run.metrics.set(`${each.key}/${each.step}`, each)
      for (const { key, value } of body.tags) run.tags.set(key, value)
      return {}
    },
  ),
  'POST runs/update': taking(
    z.strictObject({
      run_id: z.string(),
      status: z.enum(['FINISHED', 'FAILED']),
      end_time: millis.optional(),
    }),
    (body, state, refuse) => {
      const run = runOf(state, body.run_id, refuse)
      run.status = body.status
      if (body.end_time !== undefined) run.end = body.end_time
      return { run_info: runAnswer(body.run_id, run).info }
    },
  ),
  'POST registered-models/create': taking(
    z.strictObject({ name: z.string().min(1) }),
    ({ name }, state, refuse) => {
      if (state.models.has(name)) refuse(400, there)
      state.models.set(name, { versions: [], aliases: new Map() })
      return { registered_model: { name } }
    },
  ),
  'GET registered-models/get': taking(z.strictObject({ name: z.string() }), ({ name }, state, refuse) => {
    const { versions, aliases } = modelOf(state, name, refuse)
    return {
      registered_model: {
        name,
        latest_versions: versions.map((each, at) => versionAnswer(name, at, each)).slice(-1),
        ...(aliases.size === 0
          ? {}
          : { aliases: [...aliases].map(([alias, version]) => ({ alias, version })) }),
      },
    }
  }),
  'GET model-versions/search': taking(
    z.strictObject({ filter: z.string().regex(/^name = '[^']+' and tags\./), max_results: z.string() }),
    ({ filter }, state) => {
      const name = /^name = '([^']+)'/.exec(filter)?.[1] ?? ''
      const [, key = '', value] = tagFilter.exec(filter) ?? []
      const found = (state.models.get(name)?.versions ?? [])
        .map((each, at) => ({ each, at }))
        .filter(({ each }) => each.tags.get(key) === value)
      return found.length === 0
        ? {}
        : { model_versions: found.map(({ each, at }) => versionAnswer(name, at, each)) }
    },
  ),
  'POST model-versions/create': taking(
    z.strictObject({
      name: z.string(),
      source: z.string().regex(/^[a-z]+:\/\//),
      run_id: z.string().optional(),
      tags: z.array(tag),
    }),
    (body, state, refuse) => {
      const { versions } = modelOf(state, body.name, refuse)
      const made = {
        source: body.source,
        runId: body.run_id ?? '',
        tags: new Map(body.tags.map(({ key, value }) => [key, value])),
      }
      return { model_version: versionAnswer(body.name, versions.push(made) - 1, made) }
    },
  ),
  'POST model-versions/set-tag': taking(
    z.strictObject({ name: z.string(), version: z.string(), key: tag.shape.key, value: tag.shape.value }),
    (body, state, refuse) => {
      const found = modelOf(state, body.name, refuse).versions[Number(body.version) - 1] ?? refuse(404, gone)
      found.tags.set(body.key, body.value)
      return {}
    },
  ),
  'POST registered-models/alias': taking(
    z.strictObject({ name: z.string(), alias: z.string(), version: z.string().regex(/^\d+$/) }),
    (body, state, refuse) => {
      const { versions, aliases } = modelOf(state, body.name, refuse)
      if (versions[Number(body.version) - 1] === undefined) refuse(404, gone)
      aliases.set(body.alias, body.version)
      return {}
    },
  ),
  'DELETE registered-models/alias': taking(
    z.strictObject({ name: z.string(), alias: z.string() }),
    ({ name, alias }, state, refuse) => {
      modelOf(state, name, refuse).aliases.delete(alias)
      return {}
    },
  ),
}

export async function startReceiver(options: { port?: number; token?: string } = {}): Promise<MlflowServer> {
  const state: State = { experiments: [], runs: new Map(), models: new Map() }
  const asked: string[] = []
  let failure: number | undefined
  const server: Server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const url = new URL(request.url ?? '', 'http://receiver')
      const name = `${request.method} ${url.pathname.replace(/^\/api\/2\.0\/mlflow\//, '')}`
      asked.push(name)
      const answer = (status: number, body: object) =>
        void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      const refuse: Refuse = (status, code) => {
        throw Object.assign(new Error(code), { status, code })
      }
      try {
        if (failure !== undefined) refuse(failure, 'INTERNAL_ERROR')
        if (options.token !== undefined && request.headers.authorization !== `Bearer ${options.token}`)
          refuse(401, 'UNAUTHENTICATED')
        const handler = handlers[name] ?? refuse(404, 'ENDPOINT_NOT_FOUND')
        const body: unknown =
          request.method === 'GET' ? Object.fromEntries(url.searchParams) : JSON.parse(text)
        answer(200, handler(body, state, refuse) as object)
      } catch (error) {
        const { status = 400, code, message } = error as { status?: number; code?: string; message: string }
        answer(status, { error_code: code ?? 'BAD_REQUEST', message: `${name}: ${message}` })
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    failWith: (status) => (failure = status),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Starts the real server by the path of its command; resolves when it responds. */
export async function startMlflow(command: string): Promise<MlflowServer> {
  const directory = mkdtempSync(join(tmpdir(), 'tenure-mlflow-'))
  const { port } = new URL((await probe()).url)
  const child = spawn(
    command,
    [
      'server',
      '--host',
      '127.0.0.1',
      '--port',
      port,
      '--workers',
      '1',
      '--backend-store-uri',
      `sqlite:///${directory}/m.db`,
      '--default-artifact-root',
      `${directory}/artifacts`,
    ],
    { cwd: directory, stdio: 'ignore', detached: true },
  )
  const url = `http://127.0.0.1:${port}`
  const untilMs = performance.now() + 280_000
  while (
    !(await fetch(`${url}/health`).then(
      (answer) => answer.ok,
      () => false,
    ))
  ) {
    if (performance.now() > untilMs || child.exitCode !== null) throw new Error(`${command} does not answer`)
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  return {
    url,
    asked: [],
    failWith: () => {},
    async stop() {
      // The server's workers are processes of its group.
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      await new Promise((resolve) => child.once('close', resolve))
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Returns a port that was free a moment ago. */
async function probe(): Promise<MlflowServer> {
  const server = await startReceiver()
  await server.stop()
  return server
}
