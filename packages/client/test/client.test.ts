/** Tests the TypeScript client against a replacement for `fetch`: what it sends, retries and throws. */
import { describe, expect, it } from 'vitest'
import { createTenure, isTenureError } from '../src/index.ts'
import type { TenureError, TenureOptions } from '../src/index.ts'

interface Sent {
  method: string
  path: string
  headers: Record<string, string>
  body: Record<string, unknown> | undefined
}

/** Returns each response in turn, and repeats the last one. */
function stub(responses: (Response | Error)[], options: Partial<TenureOptions> = {}) {
  const sent: Sent[] = []
  const fetch: typeof globalThis.fetch = async (address, init = {}) => {
    const { pathname, search } = new URL(String(address))
    const body =
      init.body === undefined ? undefined : (JSON.parse(String(init.body)) as Record<string, unknown>)
    sent.push({
      method: init.method ?? '',
      path: pathname + search,
      headers: init.headers as Record<string, string>,
      body,
    })
    init.signal?.throwIfAborted()
    const next = responses[Math.min(sent.length, responses.length) - 1]!
    if (next instanceof Error) throw next
    return next.clone()
  }
  return { sent, client: createTenure({ url: 'http://tenure.test/', key: 'tnr_a', fetch, ...options }) }
}

/** Ends a request that never gets an answer. */
const reachedMs = 15

const json = (body: unknown, status = 200, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), { status, headers: { 'x-request-id': 'req-1', ...headers } })
const problem = (code: string, status: number, retryable: boolean) =>
  json({ code, detail: 'it is so', remedy: 'Do this.', retryable, status }, status)
const thrownBy = async (work: Promise<unknown>): Promise<TenureError> => {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!isTenureError(thrown)) return expect.fail(`no error of the client: ${String(thrown)}`)
  return thrown
}

describe('a call', () => {
  it('sends what each method names, with the key', async () => {
    const { sent, client } = stub([json({ predictions: [] })])
    await client.predict(
      'a b',
      { x: 1 },
      { routingKey: 'u', reference: 'A-7', deadlineMs: 50, requestId: 'r', idempotencyKey: 'i' },
    )
    await client.predict('iris', [{ x: 1 }, { x: null }])
    await client.infer('iris', [], {
      version: 'iris_v1.0.0',
      routingKey: 'u',
      reference: 'A-7',
      outputs: [{ name: 'label' }],
    })
    await client.outcomes([{ prediction_id: 'p', value: 1, observed_at: '2026-01-01T00:00:00Z' }])
    await client.events([{ routing_key: 'u', name: 'buy', value: 2, occurred_at: '2026-01-01T00:00:00Z' }])
    await client.retrain('iris', {
      reason: 'why',
      asOf: '2026-01-01T00:00:00Z',
      hyperparameters: { units: 4 },
    })
    await client.approve('rel_1', { reason: 'good', artifactDigest: 'sha256:a' })
    await client.reject('rel_1')
    await client.call('GET', '/v1/models')
    await client.call('POST', '/v1/batches', { model: 'iris' })
    await client.call('POST', '/v1/models/iris:predict', { instances: [] })
    expect(sent.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['POST', '/v1/models/a%20b/predict', { instances: [{ x: 1 }], routing_key: 'u', reference: 'A-7' }],
      ['POST', '/v1/models/iris/predict', { instances: [{ x: 1 }, { x: null }] }],
      [
        'POST',
        '/v2/models/iris/versions/iris_v1.0.0/infer',
        { parameters: { routing_key: 'u', reference: 'A-7' }, inputs: [], outputs: [{ name: 'label' }] },
      ],
      [
        'POST',
        '/v1/outcomes',
        { outcomes: [{ prediction_id: 'p', value: 1, observed_at: '2026-01-01T00:00:00Z' }] },
      ],
      [
        'POST',
        '/v1/events',
        { events: [{ routing_key: 'u', name: 'buy', value: 2, occurred_at: '2026-01-01T00:00:00Z' }] },
      ],
      [
        'POST',
        '/v1/models/iris/retrainings',
        { reason: 'why', as_of: '2026-01-01T00:00:00Z', hyperparameters: { units: 4 } },
      ],
      ['POST', '/v1/releases/rel_1/approve', { reason: 'good', artifact_digest: 'sha256:a' }],
      ['POST', '/v1/releases/rel_1/reject', {}],
      ['GET', '/v1/models', undefined],
      ['POST', '/v1/batches', { model: 'iris' }],
      ['POST', '/v1/models/iris:predict', { instances: [] }],
    ])
    expect(sent[0]!.headers).toMatchObject({
      authorization: 'Bearer tnr_a',
      'x-deadline-ms': '50',
      'x-request-id': 'r',
      'idempotency-key': 'i',
    })
    const keys = sent.map(({ headers }) => headers['idempotency-key'])
    const commands = [5, 6, 7, 9].map((at) => keys[at])
    expect(new Set(commands).size).toBe(4)
    expect(commands).not.toContain(undefined)
    expect(keys.filter((key) => key !== undefined)).toEqual(['i', ...commands])
  })

  it('reads the log page by page, up to the limit', async () => {
    const pages = [
      json({ predictions: [], next_cursor: 'a' }),
      json({ predictions: [{ id: '1' }, { id: '2' }], next_cursor: 'b' }),
      json({ predictions: [{ id: '3' }] }),
    ]
    const all = stub(pages)
    const found = await all.client.predictions('iris', { routingKey: 'a&b', since: '2026-01-01' })
    expect(found.map(({ id }) => id)).toEqual(['1', '2', '3'])
    const query = '/v1/predictions?model=iris&limit=1000&since=2026-01-01&routing_key=a%26b'
    expect(all.sent.map(({ path }) => path)).toEqual([query, `${query}&cursor=a`, `${query}&cursor=b`])
    const some = stub(pages.slice(1))
    expect(await some.client.predictions('iris', { limit: 2 })).toHaveLength(2)
    expect(some.sent.map(({ path }) => path)).toEqual(['/v1/predictions?model=iris&limit=2'])
  })

  it('is repeated while the API says that a retry can help, with the same idempotency key', async () => {
    const { sent, client } = stub([
      problem('overloaded', 503, true),
      new TypeError('fetch failed'),
      json({ id: 'a' }),
    ])
    expect(await client.retrain('iris')).toEqual({ id: 'a' })
    expect(sent).toHaveLength(3)
    expect(new Set(sent.map(({ headers }) => headers['idempotency-key'])).size).toBe(1)
  })

  it('waits for Retry-After', async () => {
    const { client } = stub(
      [problem('rate_limited', 429, true), json({})].map((each, at) =>
        at === 0
          ? json({ code: 'rate_limited', detail: 'slow', retryable: true }, 429, { 'retry-after': '1' })
          : each,
      ),
    )
    const began = performance.now()
    await client.call('GET', '/v1/models')
    expect(performance.now() - began).toBeGreaterThanOrEqual(990)
  })

  it('is not repeated before a distant Retry-After, and after its own pause where that is a date', async () => {
    const unavailable = (after: string) =>
      json({ code: 'overloaded', detail: 'full', retryable: true }, 503, { 'retry-after': after })
    const distant = stub([unavailable('60'), json({})])
    expect(await thrownBy(distant.client.call('GET', '/v1/models'))).toMatchObject({ code: 'overloaded' })
    expect(distant.sent).toHaveLength(1)
    const dated = stub([unavailable('Wed, 21 Oct 2065 07:28:00 GMT'), json({ models: [] })])
    expect(await dated.client.call('GET', '/v1/models')).toEqual({ models: [] })
  })

  it('is repeated when its response is cut off, and fails like one without a response', async () => {
    const cut = () =>
      new Response(new ReadableStream({ start: (body) => body.error(new TypeError('terminated')) }))
    const mended = stub([cut(), json({ models: [] })])
    expect(await mended.client.call('GET', '/v1/models')).toEqual({ models: [] })
    const broken = stub([cut()], { maxRetries: 0 })
    expect(await thrownBy(broken.client.call('GET', '/v1/models'))).toMatchObject({
      code: 'unreachable',
      retryable: true,
    })
    const fetch: typeof globalThis.fetch = (_address, init) => {
      const start = (body: ReadableStreamDefaultController) =>
        init?.signal?.addEventListener('abort', () => body.error(init.signal?.reason))
      return Promise.resolve(new Response(new ReadableStream({ start })))
    }
    const endless = stub([], { fetch, timeoutMs: reachedMs, maxRetries: 0 })
    expect(await thrownBy(endless.client.call('GET', '/v1/models'))).toMatchObject({ code: 'timeout' })
  })

  it('gives up after the retries, and at once where a retry cannot help', async () => {
    const busy = stub([problem('overloaded', 503, true)], { maxRetries: 1 })
    expect(await thrownBy(busy.client.predict('iris', {}))).toMatchObject({
      code: 'overloaded',
      status: 503,
      retryable: true,
    })
    expect(busy.sent).toHaveLength(2)
    const wrong = stub([problem('missing_feature', 422, false)])
    expect(await thrownBy(wrong.client.predict('iris', {}))).toMatchObject({
      code: 'missing_feature',
      status: 422,
      remedy: 'Do this.',
      requestId: 'req-1',
      message: 'missing_feature: it is so',
    })
    expect(wrong.sent).toHaveLength(1)
  })

  it('reads the errors of the other protocols, and of a proxy', async () => {
    for (const [response, code, detail, retryable] of [
      [json({ error: 'no rows', code: 'no_instances' }, 422), 'no_instances', 'no rows', false],
      [
        json({ error_code: 'BAD_REQUEST', message: 'no', code: 'invalid_request' }, 400),
        'invalid_request',
        'no',
        false,
      ],
      [new Response('<html>', { status: 502 }), 'unknown', 'status 502', false],
      [new Response('', { status: 503 }), 'unknown', 'status 503', true],
      [new Response('<html>'), 'unknown', 'status 200 without JSON', false],
    ] as const) {
      const { client } = stub([response], { maxRetries: 0 })
      expect(await thrownBy(client.infer('iris', []))).toMatchObject({
        code,
        retryable,
        message: `${code}: ${detail}`,
      })
    }
  })

  it('names a server that cannot be reached, and one that does not answer in time', async () => {
    const away = stub([Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNREFUSED' } })], {
      maxRetries: 0,
    })
    expect(await thrownBy(away.client.call('GET', '/livez'))).toMatchObject({
      code: 'unreachable',
      message: 'unreachable: http://tenure.test is not reachable: ECONNREFUSED',
    })
    const never: typeof fetch = (_address, init) =>
      new Promise((_resolve, reject) =>
        init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error)),
      )
    const slow = createTenure({
      url: 'http://tenure.test',
      fetch: never,
      timeoutMs: reachedMs,
      maxRetries: 0,
    })
    expect(await thrownBy(slow.call('GET', '/livez'))).toMatchObject({ code: 'timeout', retryable: true })
    const stop = new AbortController()
    const aborted = slow.call('GET', '/livez', undefined, { signal: stop.signal })
    stop.abort(new Error('stopped'))
    await expect(aborted).rejects.toThrow('stopped')
  })
})

describe('wait', () => {
  it('reads a release, a retraining and a command until each has ended', async () => {
    for (const [id, path, open, ended] of [
      ['rel_1', '/v1/releases/rel_1?limit=1', { stage: 'canary' }, { outcome: 'promoted' }],
      ['retrain/iris/1', '/v1/retrainings/retrain%2Firis%2F1', {}, { outcome: 'registered' }],
      ['cmd_1', '/v1/commands/cmd_1', { state: 'waiting' }, { state: 'delivered' }],
    ] as const) {
      const { sent, client } = stub([json(open), json(open), json(ended)])
      expect(await client.wait(id, { everyMs: 1 })).toEqual(ended)
      expect(sent.map((each) => each.path)).toEqual([path, path, path])
    }
  })

  it('ends at a stage, or with an error when the time is over or the id is of nothing', async () => {
    const { client } = stub([json({ stage: 'qualifying' }), json({ stage: 'canary' })])
    expect(await client.wait('rel_1', { everyMs: 1, until: ({ stage }) => stage === 'canary' })).toEqual({
      stage: 'canary',
    })
    expect(await thrownBy(client.wait('rel_1', { everyMs: 10, timeoutMs: reachedMs }))).toMatchObject({
      code: 'timeout',
    })
    expect(await thrownBy(client.wait('iris'))).toMatchObject({ code: 'usage' })
  })
})
