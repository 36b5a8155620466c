/** Tests the codec server for Temporal's web UI: its protocol, its token and its single origin. */
import { expect, it } from 'vitest'
import { createCodecServer } from '../../../cli/codec/server.ts'
import { createPayloadCodec } from '../../../workflows/client/payload-codec.ts'
import { serve } from '../../../packages/http-front/test/support/sockets.ts'

const origin = 'http://127.0.0.1:8233'
const token = 'the-token'
const codec = createPayloadCodec([{ id: 'a', secret: Buffer.alloc(32, 1) }])
const start = async () => `http://127.0.0.1:${await serve(createCodecServer({ codec, token, origin }))}`
const body = { payloads: [{ metadata: { encoding: btoa('json/plain') }, data: btoa('"secret"') }] }
const ask = (url: string, sent: unknown, headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', body: JSON.stringify(sent), headers: { origin, ...headers } })

it('encrypts and decrypts by the token in the path, as the pages send it', async () => {
  const url = await start()
  const encoded = (await (await ask(`${url}/${token}/encode`, body)).json()) as typeof body
  expect(JSON.stringify(encoded)).not.toContain(btoa('"secret"'))
  const decoded = await ask(`${url}/${token}/decode`, encoded)
  expect(await decoded.json()).toEqual(body)
  expect(decoded.headers.get('access-control-allow-origin')).toBe(origin)
})

it('decrypts by a bearer token, as the command line sends it', async () => {
  expect((await ask(`${await start()}/decode`, body, { authorization: `Bearer ${token}` })).status).toBe(200)
})

it('refuses a wrong token, another path and a body without payloads', async () => {
  const url = await start()
  expect((await ask(`${url}/decode`, body)).status).toBe(401)
  expect((await ask(`${url}/wrong/decode`, body)).status).toBe(401)
  expect((await ask(`${url}/${token}/other`, body)).status).toBe(404)
  for (const wrong of [{}, { payloads: [{ data: 1 }] }, { payloads: [{ metadata: { a: 1 } }] }, 'x'])
    expect((await ask(`${url}/${token}/decode`, wrong)).status).toBe(400)
  expect((await ask(`${url}/${token}/decode`, { payloads: [], more: 'x'.repeat(8_388_608) })).status).toBe(
    400,
  )
})

it('answers the preflight of its own origin alone', async () => {
  const url = await start()
  const preflight = (from: string) =>
    fetch(`${url}/${token}/decode`, { method: 'OPTIONS', headers: { origin: from } })
  expect((await preflight(origin)).headers.get('access-control-allow-headers')).toContain('x-namespace')
  expect((await preflight('http://evil.test')).headers.get('access-control-allow-origin')).toBeNull()
})
