/** Runs the rendered steps of the GitHub Action and of the GitLab template, with the real command and a server that receives comments. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { initProject } from '../../cli/init/init-project.ts'
import { defaultGatePolicy } from '../../domain/evaluation/policy.ts'
import { judgeGate } from '../../domain/evaluation/gate.ts'
import { seededRandom } from '@tenure/sequential'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { blocksOf } from '../support/docs/markdown.ts'

const deploy = (...path: string[]) => join(checkout, 'deploy', ...path)
let server: Server
let url: string
let folder: string
interface Comment {
  body: string
  by: string
}
/** Comment id → comment of the pull or merge request. */
const comments = new Map<number, Comment>()
/** The account of each token. The one of a GitHub workflow may not ask who it is. */
const accounts: Readonly<Record<string, string>> = { tok: 'github-actions[bot]', personal: 'tenure-bot' }
const mark = '<!-- tenure-report -->'

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-ci-'))
  server = createServer((request, response) => {
    const { method = '', url: asked = '', headers } = request
    const { pathname: path, searchParams } = new URL(asked, 'http://api')
    const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? String(headers['private-token'])
    const by = accounts[token]
    if (by === undefined) return response.writeHead(401).end('{}')
    if (path === '/user')
      return by.endsWith('[bot]')
        ? response.writeHead(403).end('{"message": "Resource not accessible by integration"}')
        : response.end(JSON.stringify({ login: by, username: by }))
    const isList = /^\/(?:repos\/o\/r\/issues\/7\/comments|projects\/5\/merge_requests\/7\/notes)$/.test(path)
    const one = /^\/(?:repos\/o\/r\/issues\/comments|projects\/5\/merge_requests\/7\/notes)\/(\d+)$/.exec(
      path,
    )?.[1]
    if (method === 'GET' && isList) {
      const size = Number(searchParams.get('per_page') ?? 20)
      const from = (Number(searchParams.get('page') ?? 1) - 1) * size
      const listed = [...comments].slice(from, from + size)
      const author = (each: Comment) =>
        path.startsWith('/repos') ? { user: { login: each.by } } : { author: { username: each.by } }
      return response.end(
        JSON.stringify(listed.map(([id, each]) => ({ id, body: each.body, ...author(each) }))),
      )
    }
    const isUpdate = one !== undefined && comments.has(Number(one)) && /^(PATCH|PUT)$/.test(method)
    if (!isUpdate && !(method === 'POST' && isList)) return response.writeHead(404).end('{}')
    return void json(request).then((sent) => {
      const { body } = sent as { body: string }
      if (isUpdate) comments.get(Number(one))!.body = body
      else comments.set(comments.size + 1, { body, by })
      response.writeHead(isUpdate ? 200 : 201).end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server?.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Step {
  run: string
  env: Record<string, string>
}

/** Returns the steps of the composite action, with these values for its expressions. */
function stepsOf(values: Readonly<Record<string, string>>): Step[] {
  const text = readFileSync(deploy('github', 'action.yml'), 'utf8')
  const defaults = Object.fromEntries(
    [...text.matchAll(/^ {2}(\w+):\n {4}description: .+\n(?: {4}default: (.*)\n)?/gm)].map(
      ([, name, value = '']) => [`inputs.${name}`, value === "''" ? '' : value],
    ),
  )
  const rendered = (each: string): string =>
    each.replaceAll(/\$\{\{ ([\w.]+) \}\}/g, (whole, name: string) => {
      const value = values[name] ?? defaults[name]
      if (value === undefined) throw new Error(`no value for ${whole}`)
      return value
    })
  const [, ...steps] = text.split(/^ {4}- name: /m)
  return steps.map((step) => ({
    run: rendered(/^ {6}run: (.+)$/m.exec(step)![1]!),
    env: Object.fromEntries(
      [...step.matchAll(/^ {8}(\w+): (.*)$/gm)].map(([, name, value]) => [name!, rendered(value!)]),
    ),
  }))
}

function bash(
  script: string,
  env: Record<string, string>,
  cwd = folder,
): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    execFile(
      'bash',
      ['-c', script],
      { cwd, env: environmentWith(env), maxBuffer: 1e8 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), text: `${stdout}${stderr}` }),
    )
  })
}

/** The command in a folder without spaces, since the variable may hold several words. */
const tenureCommand = (): string => {
  const path = join(folder, 'tenure')
  writeFileSync(path, `#!/bin/sh\nexec node '${join(checkout, 'cli', 'tenure.mjs')}' "$@"\n`, { mode: 0o700 })
  return path
}
const github = () => ({
  GITHUB_ACTION_PATH: deploy('github'),
  GITHUB_API_URL: url,
  GITHUB_REPOSITORY: 'o/r',
  GITHUB_STEP_SUMMARY: join(folder, 'summary.md'),
})

/** Makes a project like `tenure init`, with the TypeScript and the sources of this checkout as packages. */
async function makeProject(): Promise<string> {
  const project = join(folder, 'project')
  await initProject({
    folder: project,
    overwrite: false,
    choose: (_, inferred) => Promise.resolve(inferred),
  })
  mkdirSync(join(project, 'node_modules', '.bin'), { recursive: true })
  const installed = join(checkout, 'node_modules')
  symlinkSync(join(installed, 'typescript', 'bin', 'tsc'), join(project, 'node_modules', '.bin', 'tsc'))
  const places = {
    paths: { tenure: [join(checkout, 'models', 'define.ts')] },
    typeRoots: [join(installed, '@types')],
  }
  const settings = {
    extends: join(checkout, 'tsconfig.json'),
    compilerOptions: places,
    include: ['models', 'policies'],
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(settings))
  return project
}

it('the action checks a project, simulates its policies, and keeps one comment of a pull request', async () => {
  const [check, comment] = stepsOf({
    'inputs.tenure': tenureCommand(),
    'inputs.models': 'iris',
    'inputs.scenarios': 'error:0.02',
    'inputs.token': 'tok',
    'runner.temp': folder,
    'github.event.pull_request.number': '7',
  })
  const project = await makeProject()
  const checked = await bash(check!.run, { ...github(), ...check!.env }, project)
  expect(checked, checked.text).toMatchObject({ code: 0 })
  for (let time = 0; time < 2; time++) {
    const commented = await bash(comment!.run, { ...github(), ...comment!.env })
    expect(commented, commented.text).toMatchObject({ code: 0 })
  }
  expect(comments.size).toBe(1)
  const { body: text } = [...comments.values()][0]!
  expect(text).toMatch(/^<!-- tenure-report -->\n# Tenure\n/)
  expect(text).toContain('## Check: everything is right')
  expect(text).toMatch(/\| iris \| trained on \d+ rows \|/)
  expect(text).toMatch(/\| iris \| error:0\.02 \| 100 \| \d+ \| \d+ \| \d+ \| [\d.]+ % \|/)
  expect(readFileSync(join(folder, 'summary.md'), 'utf8')).toContain('## Check')
})

it('a project with a wrong type fails the job, and the report names its line', async () => {
  const project = join(folder, 'project')
  writeFileSync(join(project, 'policies', 'wrong-type.ts'), 'export const one: number = "one"\n')
  const report = join(folder, 'wrong-type-report')
  const env = { TENURE: tenureCommand(), CI_REPORT: report, TENURE_URL: '' }
  const { code, text } = await bash(`bash "${deploy('ci', 'check.sh')}"`, env, project)
  expect(code, text).toBe(6)
  expect(text).toContain('policies/wrong-type.ts(1,')
})

it('a project with a wrong model file fails the job, and the comment names the issue', async () => {
  const project = join(folder, 'wrong')
  mkdirSync(join(project, 'models'), { recursive: true })
  writeFileSync(join(project, 'tenure.config.json'), '{"models": "models"}')
  writeFileSync(join(project, 'models', 'bad.ts'), 'export default 1\n')
  const report = join(folder, 'wrong-report')
  const env = { TENURE: tenureCommand(), CI_REPORT: report, TENURE_PROJECT: project, TENURE_URL: '' }
  const { code, text } = await bash(`bash "${deploy('ci', 'check.sh')}"`, env, project)
  expect(code, text).toBe(6)
  expect(text).toContain('## Check: something is wrong')
  expect(text).toContain('| bad |')
})

it('the report of an evaluation has the paired gain with its interval, the slices and the reasons', async () => {
  const random = seededRandom(1)
  const y = Array.from({ length: 2_000 }, () => (random() < 0.5 ? 1 : 0))
  const scored = (noise: number) => y.map((label) => [0.4 + 0.2 * label + noise * (random() - 0.5)])
  const input = { y, challenger: scored(0.4), champion: scored(0.7) }
  const report = judgeGate(
    { ...input, slices: [{ name: 'a|b <i>', rows: y.map((_, row) => row).slice(0, 900) }] } as never,
    defaultGatePolicy('binary'),
  )
  const made = join(folder, 'tried')
  mkdirSync(made, { recursive: true })
  writeFileSync(join(made, 'check.json'), '{"ok":true,"models":[]}')
  writeFileSync(
    join(made, 'try-iris.json'),
    JSON.stringify({
      outcome: 'judged',
      evaluation: { verdict: report.verdict, baseline_version: 'iris_v1.0.0', report },
    }),
  )
  const { text, code } = await bash(`node "${deploy('ci', 'report.mjs')}" ${made}`, {})
  expect(code, text).toBe(0)
  expect(text).toContain(`## iris: ${report.verdict} against iris\\_v1.0.0`)
  expect(text).toMatch(/\| \w+ \| 0\.\d+ \| 0\.\d+ \| \+0\.\d+ \| \+0\.\d+ to \+0\.\d+ \|/)
  expect(text).toContain(String.raw`| a\|b \<i\> | 900 |`)
})

it('the workflow of docs/how-to/releases/ci.md gives the action inputs that it has', () => {
  const page = readFileSync(join(checkout, 'docs', 'how-to', 'releases', 'ci.md'), 'utf8')
  const { text } = blocksOf(page).find(({ language }) => language === 'yaml')!
  const workflow = parse(text) as {
    jobs: { tenure: { steps: { uses?: string; with?: Record<string, string> }[] } }
  }
  const action = parse(readFileSync(deploy('github', 'action.yml'), 'utf8')) as { inputs: object }
  const step = workflow.jobs.tenure.steps.find(({ uses }) => uses === './deploy/github')
  expect(Object.keys(action.inputs)).toEqual(expect.arrayContaining(Object.keys(step!.with!)))
})

it('a command of a pipeline is the locked Tenure, which is installed first, and never one from the registry', () => {
  const texts = [deploy('github', 'release.yml'), deploy('gitlab', 'tenure.gitlab-ci.yml')]
  const commands = texts.flatMap((file) => readFileSync(file, 'utf8').match(/npx .*/g) ?? [])
  expect(commands.length).toBeGreaterThan(2)
  for (const each of commands) expect(each).toMatch(/^npx --no-install tenure\b/)
})

interface Job {
  extends?: string
  environment?: string | { name: string }
  variables?: Record<string, string>
  steps?: { uses?: string; run?: string }[]
  before_script?: string[]
  script?: string[]
}
/** A workflow of GitHub has its jobs by name; a pipeline of GitLab is the jobs by name, and what all of them have. */
interface Pipeline extends Record<string, unknown> {
  jobs?: Record<string, Job>
}
const approvingKey = 'TENURE_APPROVE_KEY'

/** Reads the jobs of every pipeline that is shipped or shown: whether each runs code of a branch, and whether it can get the approving key. */
function pipelines(): [string, Record<string, { runsBranch: boolean; canApprove: boolean }>][] {
  const shipped = ['github', 'gitlab'].flatMap((host) =>
    readdirSync(deploy(host))
      .filter((name) => name.endsWith('.yml'))
      .map((name) => [`${host}/${name}`, readFileSync(deploy(host, name), 'utf8')] as const),
  )
  const docs = join(checkout, 'docs')
  const shown = readdirSync(docs, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) =>
      blocksOf(readFileSync(join(docs, name), 'utf8'))
        .filter(({ language }) => language === 'yaml')
        // A pipeline is one document; the objects of a cluster are several.
        .filter(({ text }) => parseAllDocuments(text).length === 1)
        .map(({ text }, i) => [`${name}, block ${i}`, text] as const),
    )
  return [...shipped, ...shown].flatMap(([name, text]) => {
    const parsed = parse(text) as Pipeline
    const all = parsed.jobs ?? (parsed as Record<string, Job>)
    const jobs = Object.entries(all).flatMap(([job, own]) => {
      const base = all[own?.extends ?? '']
      const whole: Job = { ...base, ...own, variables: { ...base?.variables, ...own?.variables } }
      return (whole.steps ?? whole.script) ? [[job, whole] as const] : []
    })
    const shared = JSON.stringify({
      ...parsed,
      jobs: undefined,
      ...Object.fromEntries(jobs.map(([job]) => [job, undefined])),
    })
    const namesKey = (job: Job) =>
      JSON.stringify(job).includes(approvingKey) || /toJSON\(secrets\)|"inherit"/.test(JSON.stringify(job))
    const placeOf = ({ environment }: Job) =>
      typeof environment === 'object' ? environment.name : environment
    const places = jobs.filter(([, job]) => namesKey(job)).map(([, job]) => placeOf(job))
    const read = jobs.map(([job, whole]) => {
      const lines = [
        ...(whole.steps ?? []).map(({ run = '' }) => run),
        ...(whole.before_script ?? []),
        ...(whole.script ?? []),
      ]
      // The steps of a composite action run in the job of its caller.
      const isAction = job === 'runs'
      const isCheckedOut =
        isAction ||
        (whole.steps === undefined
          ? whole.variables?.['GIT_STRATEGY'] !== 'none'
          : whole.steps.some(({ uses }) => uses !== undefined))
      return [
        job,
        {
          runsBranch: isCheckedOut || lines.some((line) => /\b(npm|npx|pip|git)\b|\$TENURE\b/.test(line)),
          canApprove: namesKey(whole) || places.includes(placeOf(whole)) || shared.includes(approvingKey),
        },
      ] as const
    })
    return read.length === 0 ? [] : [[name, Object.fromEntries(read)]]
  })
}

const scripts = {
  github: (token: string) => ({
    ...github(),
    GITHUB_TOKEN: token,
    PULL_REQUEST: '7',
    CI_REPORT: folder,
  }),
  gitlab: (token: string) => ({
    CI_API_V4_URL: url,
    CI_PROJECT_ID: '5',
    CI_MERGE_REQUEST_IID: '7',
    CI_REPORT_TOKEN: token,
    CI_REPORT: folder,
  }),
}
const foreign = (body: string): [number, Comment] => [comments.size + 1, { body, by: 'mallory' }]

it.each([
  ['github', 'tok'],
  ['github', 'personal'],
  ['gitlab', 'personal'],
] as const)(
  'the comment on %s with the token %s takes over that of its own account alone, on any page',
  async (host, token) => {
    comments.clear()
    comments.set(...foreign(`${mark}\nI am the report`))
    for (let i = 0; i < 99; i++) comments.set(...foreign('a word'))
    const theirs = structuredClone([...comments])
    for (const text of ['# One', '# Two']) {
      writeFileSync(join(folder, 'report.md'), `${text}\n`)
      const { code, text: said } = await bash(`bash "${deploy(host, 'comment.sh')}"`, scripts[host](token))
      expect(code, said).toBe(0)
    }
    const [own, ...others] = [...comments].slice(100)
    expect([own, others]).toEqual([[101, { body: `${mark}\n# Two\n`, by: accounts[token] }], []])
    expect([...comments].slice(0, 100)).toEqual(theirs)
  },
)

it('the GitLab template comments after a check', () => {
  const text = readFileSync(deploy('gitlab', 'tenure.gitlab-ci.yml'), 'utf8')
  expect(/after_script:\n {4}- (.+)\n/.exec(text)?.[1]).toBe('bash deploy/gitlab/comment.sh')
})

it.each(pipelines())('%s: no job that runs code of a branch can have the key that approves', (_, jobs) => {
  expect(Object.keys(jobs).length).toBeGreaterThan(0)
  for (const [name, job] of Object.entries(jobs))
    expect(job, name).not.toMatchObject({ runsBranch: true, canApprove: true })
})

it('the rule above reads the jobs right: each template has jobs of both kinds', () => {
  const read = Object.fromEntries(pipelines())
  for (const name of ['github/release.yml', 'gitlab/tenure.gitlab-ci.yml']) {
    const jobs = Object.values(read[name]!)
    expect(jobs).toContainEqual({ runsBranch: true, canApprove: false })
    expect(jobs).toContainEqual({ runsBranch: false, canApprove: true })
  }
  expect(read['github/action.yml']).toEqual({ runs: { runsBranch: true, canApprove: false } })
})
