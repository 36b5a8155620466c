/** Tests that the page at /docs is complete and loads files from this host only. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'viewer' })
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})
const get = (path: string) => api.request('GET', path, { key })

it('refers only to existing files of this host', async () => {
  const page = await get('/docs')
  expect(page.status).toBe(200)
  const named = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!)
  expect(named.length).toBeGreaterThanOrEqual(5)
  for (const path of named) {
    expect(path).toMatch(/^\/docs\//)
    expect((await get(path)).status, path).toBe(200)
  }
  expect(page.text).not.toMatch(/<style|style=|<script>|\son\w+=/)
})

it('has a content security policy that blocks other hosts', async () => {
  for (const path of ['/docs', '/docs/start.js', '/docs/swagger-ui.css', '/docs/errors', '/']) {
    const policy = (await get(path)).headers.get('content-security-policy') ?? ''
    expect(policy, path).toMatch(/^default-src 'none';/)
    expect(policy, path).not.toMatch(/https?:|\*|unsafe-eval/)
    expect(policy, path).toMatch(/frame-ancestors 'none'/)
  }
  expect((await get('/docs')).headers.get('content-security-policy')).not.toMatch(/unsafe/)
})

it.each(['index.html', 'swagger-ui-bundle.js.map', '..%2fpackage.json', 'constructor', '__proto__'])(
  'has no file %s',
  async (name) => {
    expect(await get(`/docs/${name}`)).toMatchObject({ status: 404, json: { code: 'not_found' } })
  },
)

it('requires a key that may read', async () => {
  for (const path of ['/docs', '/docs/start.js', '/docs/errors', '/openapi.json'])
    expect((await api.request('GET', path)).status).toBe(401)
})
