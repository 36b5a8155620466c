/**
 * Checks and approves a release by the scripts of the CI templates, with the real command, the real API and the real workflow. The two keys
 * are an operator's and an approver's.
 */
import { createAdaptorServer } from '@hono/node-server'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse } from 'yaml'
import { createApp } from '../../api/app.ts'
import { createMetrics } from '../../api/metrics/registry.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { startReleaseSystem, type ReleaseSystem } from '../support/lifecycle/release-system.ts'
import { uniqueName } from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'

const model = uniqueName('model')
const folder = mkdtempSync(join(tmpdir(), 'tenure-ci-approval-'))
const report = join(folder, 'tenure-report')
let system: ReleaseSystem
let server: Server
let url: string
/** Requests to approve or to reject that the API has received. */
let decisions = 0

beforeAll(async () => {
  system = await startReleaseSystem({ model, callers: 10, everyMs: 20 })
  const { api } = system
  const { app } = createApp({ ...api.deps, metrics: createMetrics(api.serving, new Map()) })
  server = createAdaptorServer({ fetch: app.fetch }) as Server
  server.on('request', ({ method, url: path = '' }: { method: string; url?: string }) => {
    if (method === 'POST' && /(approve|reject)$/.test(path)) decisions++
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  mkdirSync(report)
  writeFileSync(
    join(folder, 'tenure'),
    `#!/bin/sh\nexec node '${join(checkout, 'cli', 'tenure.mjs')}' "$@"\n`,
    { mode: 0o700 },
  )
})
afterAll(async () => {
  server?.close()
  await system.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Runs a script as the runners do, in a folder without a checkout. */
function bash(script: string, env: Record<string, string>): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    const args = ['--noprofile', '--norc', '-eo', 'pipefail', '-c', script]
    execFile('bash', args, { cwd: folder, env: environmentWith(env) }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), text: `${stdout}${stderr}` }),
    )
  })
}

const read = (...path: string[]) => readFileSync(join(checkout, 'deploy', ...path), 'utf8')
const { jobs } = parse(read('github', 'release.yml')) as {
  jobs: Record<'check' | 'approve' | 'watch', { steps: { run?: string }[] }>
}
const gitlab = parse(read('gitlab', 'tenure.gitlab-ci.yml')) as Record<string, { script: string[] }>
const lastRun = (job: keyof typeof jobs) => jobs[job].steps.at(-1)!.run!
/** The jobs of both templates that decide what `checked` holds, with a key. */
const decide = {
  github: (checked: string, key: string) =>
    bash(lastRun('approve'), {
      TENURE_URL: url,
      TENURE_KEY: key,
      CHECKED: checked,
      GITHUB_RUN_ID: uniqueName('run'),
      GITHUB_SERVER_URL: 'https://github.example',
      GITHUB_REPOSITORY: 'o/r',
    }),
  gitlab: (checked: string, key: string, decision = 'approve') => {
    writeFileSync(join(report, 'checked.txt'), `${checked}\n`)
    return bash(gitlab['.tenure-decide']!.script.join('\n'), {
      TENURE_URL: url,
      TENURE_APPROVE_KEY: key,
      DECISION: decision,
      CI_JOB_ID: uniqueName('job'),
      CI_PIPELINE_ID: '12',
    })
  },
}
const hosts = ['github', 'gitlab'] as const

/** Runs the check job of GitHub; the one of GitLab runs the same script. Returns what its report says and what an approval then names. */
async function check(release: string): Promise<{ checked: string; text: string }> {
  const output = join(folder, 'output')
  writeFileSync(output, '')
  const { code, text } = await bash(lastRun('check').replace('deploy/ci', join(checkout, 'deploy', 'ci')), {
    TENURE: join(folder, 'tenure'),
    TENURE_URL: url,
    TENURE_KEY: system.keys.olga,
    CI_RELEASE: release,
    CI_REPORT: report,
    GITHUB_OUTPUT: output,
  })
  expect(code, text).toBe(0)
  return {
    checked: readFileSync(output, 'utf8')
      .replace(/^checked=/, '')
      .trim(),
    text,
  }
}

const say = (who: 'olga' | 'anna', path: string, body: object = {}) =>
  system.api.request('POST', path, { key: system.keys[who], body })
const show = async (id: string) =>
  (await system.api.request('GET', `/v1/releases/${id}`, { key: system.keys.vera })).json
let champion: string | undefined
/** Opens a release that waits for its approval. */
async function waiting(): Promise<{ id: string; version: string }> {
  const version = await system.registry.register(champion)
  await system.fixture.store.query(sql`
    update evaluations set report_digest = 'sha256:' || encode(sha256(convert_to(id, 'utf8')), 'hex') where id = ${`e-${version}`}`)
  let id = ''
  // The workflow of the previous release ends shortly after its row.
  await until(async () => {
    const { status, json } = await say('olga', '/v1/releases', { model, version })
    id = String(json['id'])
    return status === 202
  }, 'the start')
  await until(async () => (await show(id))['stage'] === 'awaiting_approval', 'its turn')
  return { id, version }
}
const abort = async (id: string) => {
  await say('olga', `/v1/releases/${id}/abort`)
  // A release that starts before is queued behind it.
  await until(async () => (await show(id))['ended_at'] !== undefined, 'the end')
}
const parts = ['release', 'version', 'stage', 'artifact', 'evaluation', 'policy']
const other: Record<string, string> = {
  version: `${model}_v9.9.9`,
  stage: 'awaiting_decision',
  ...Object.fromEntries(
    ['artifact', 'evaluation', 'policy'].map((each) => [each, `sha256:${'0'.repeat(64)}`]),
  ),
}

it('the check reports version, stage and digests of a release; an approval of anything else is refused', async () => {
  const { id, version } = await waiting()
  const { checked, text } = await check(model)
  const shown = await show(id)
  const digests = ['artifact_digest', 'evaluation_digest', 'policy_digest'].map((each) => String(shown[each]))
  expect(checked).toBe([id, version, 'awaiting_approval', ...digests].join(' '))
  expect(text.replaceAll('\\', '')).toContain(`## Release of ${version} in awaiting_approval`)
  for (const each of digests) expect(text).toContain(each)

  for (const host of hosts) {
    for (const [name, value] of Object.entries(other)) {
      const changed = checked.split(' ').map((each, i) => (parts[i] === name ? value : each))
      const { code, text: said } = await decide[host](changed.join(' '), system.keys.anna)
      expect([code, said], `${host}, ${name}`).toEqual([
        22,
        expect.stringMatching(`command_refused.*${value}|${value}.*command_refused`),
      ])
    }
    const asked = decisions
    for (const wrong of ['', model, `${id} ${version}`, checked.replace(/ \S+$/, ''), `${checked}", "x": "`])
      expect((await decide[host](wrong, system.keys.anna)).code, wrong).toBe(1)
    expect(decisions).toBe(asked)
    const { code, text: said } = await decide[host](checked, system.keys.olga)
    expect([code, said]).toEqual([22, expect.stringContaining('"forbidden"')])
  }
  expect(await show(id)).toMatchObject({ stage: 'awaiting_approval', state: { approvals: [] } })
  await abort(id)
})

it.each(hosts)(
  '%s: an approval is for the release that was checked, not for a later one of the model',
  async (host) => {
    const first = await waiting()
    const { checked } = await check(model)
    await abort(first.id)
    const second = await waiting()
    const { code, text } = await decide[host](checked, system.keys.anna)
    expect([code, text]).toEqual([22, expect.stringContaining('the release has ended')])
    expect(await show(second.id)).toMatchObject({ stage: 'awaiting_approval', state: { approvals: [] } })

    const { checked: now } = await check(second.id)
    const approved = await decide[host](now, system.keys.anna)
    expect(approved, approved.text).toMatchObject({ code: 0 })
    const watched = await bash(lastRun('watch').replace('npx --no-install tenure', join(folder, 'tenure')), {
      TENURE_URL: url,
      TENURE_KEY: system.keys.olga,
      CHECKED: now,
    })
    expect(watched, watched.text).toMatchObject({ code: 0 })
    expect(await show(second.id)).toMatchObject({ outcome: 'promoted', version: second.version })
    champion = second.version
  },
)

it('gitlab: a rejection ends the release that was checked', async () => {
  const { id } = await waiting()
  const { checked } = await check(model)
  const { code, text } = await decide.gitlab(checked, system.keys.anna, 'reject')
  expect(code, text).toBe(0)
  await until(async () => (await show(id))['outcome'] === 'rejected', 'the end')
})
