/** Tests the project folder: tenure.config.json marks the folder with models, data and settings. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadModelsInChild } from '../cli/sync/load-models.ts'
import { findProject, readProject } from '../project.mjs'
import { checkout } from '../temporal.config.ts'

let folder: string
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'tenure-project-')))
  // The user of Postgres enters it.
  chmodSync(folder, 0o711)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

function write(path: string, content: unknown): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), typeof content === 'string' ? content : JSON.stringify(content))
}

describe('the project', () => {
  it('is the nearest folder upwards with the file, and the checkout without one', () => {
    mkdirSync(join(folder, 'a', 'b'), { recursive: true })
    expect(readProject(join(folder, 'a', 'b')).folder).toBe(checkout)
    write('tenure.config.json', {})
    expect(readProject(join(folder, 'a', 'b')).folder).toBe(folder)
    write('a/tenure.config.json', {})
    expect(readProject(join(folder, 'a', 'b')).folder).toBe(join(folder, 'a'))
  })

  it('that a variable names must have the file: the checkout does not take its place', () => {
    const issue = (named: string) =>
      `TENURE_PROJECT is a folder with tenure.config.json, or below one, not "${named}"`
    const misspelt = join(folder, 'misspelt')
    for (const named of [folder, misspelt])
      expect(findProject(named, checkout).issues).toEqual([issue(named)])
    write('tenure.config.json', {})
    expect(findProject(folder, checkout)).toMatchObject({ folder, issues: [] })
    for (const named of [checkout, join(checkout, 'models'), undefined, ''])
      expect(findProject(named, checkout)).toMatchObject({ folder: checkout, issues: [] })
  })

  it('takes its settings from the file, with paths below it', () => {
    write('tenure.config.json', {
      models: 'ml',
      state: 'state',
      alertChannels: 'alerts.json',
      port: 7500,
      temporal: 'external',
    })
    expect(readProject(folder)).toEqual({
      folder,
      settings: { models: 'ml', temporal: 'external', postgres: 'embedded' },
      variables: {
        TENURE_STATE: join(folder, 'state'),
        TENURE_ALERT_CHANNELS: join(folder, 'alerts.json'),
        TENURE_PORT: '7500',
      },
      issues: [],
    })
  })

  it.each([
    ['no JSON', '{', 'the file is not valid JSON'],
    ['a list', '[]', 'one object is required'],
    ['an unknown setting', '{"model": "m"}', 'there is no setting "model"; there are models,'],
    ['models outside', '{"models": "../m"}', 'models is a path inside the project, not "../m"'],
    ['an absolute path of models', '{"models": "/m"}', 'models is a path inside the project'],
    ['a number for a path', '{"state": 3}', 'state is a path inside the project, not 3'],
    ['a wrong port', '{"port": "7400"}', 'port is a whole number from 0 to 65535, not "7400"'],
    ['a wrong server', '{"temporal": "cloud"}', 'temporal is one of embedded, external, not "cloud"'],
  ])('reports %s', (_, text, issue) => {
    write('tenure.config.json', text)
    expect(readProject(folder).issues).toEqual([expect.stringContaining(`tenure.config.json: ${issue}`)])
  })
})

/** Runs the compiled command in the project. */
function tenure(...words: string[]): { code: number; out: string; err: string } {
  try {
    const out = execFileSync(process.execPath, [join(checkout, 'cli', 'tenure.mjs'), ...words], {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    return { code: 0, out, err: '' }
  } catch (error) {
    const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string }
    return { code: status, out: stdout, err: stderr }
  }
}

const model = (name: string, from = 'tenure') => `
import { csv, defineModel, direct, number, quantity, random } from '${from}'
export const model = defineModel({
  name: '${name}',
  features: { size: number() },
  label: quantity({ column: 'price' }),
  source: csv('data/prices.csv'),
  split: random({ test: 0.3 }),
  evaluation: { floors: { rmse: 10 } },
  release: direct(),
})`

describe('a command in a project', () => {
  it('uses its models, its settings and its .env, and a variable that is set counts first', () => {
    write('tenure.config.json', { models: 'ml', port: 7501 })
    write('.env', 'TENURE_POSTGRES_PORT=7502\nTENURE_PORT=7503\n')
    write('ml/house.ts', model('house'))
    write('data/prices.csv', 'size,price\n1,2\n')
    vi.stubEnv('TENURE_TEMPORAL_PORT', '7504')
    const { findings } = JSON.parse(tenure('doctor', '--json').out) as {
      findings: { check: string; found: string }[]
    }
    const foundBy = (name: string) => findings.filter(({ check }) => check === name).map(({ found }) => found)
    expect(foundBy('model files')).toEqual(['house'])
    expect(foundBy('configuration')[0]).toContain(`project ${folder}, state in ${folder}/.tenure`)
    expect(foundBy('ports').join()).toMatch(/7503.*7502.*7504/)
  })

  it('reports a wrong file, and an external server without its address', () => {
    write('tenure.config.json', { port: -1, temporal: 'external' })
    expect(tenure('status')).toMatchObject({
      code: 2,
      err: expect.stringMatching(
        /port is a whole number.*TEMPORAL_ADDRESS is missing: temporal is external/,
      ) as string,
    })
  })
})

describe('a model file in any folder', () => {
  it("imports the vocabulary from 'tenure'", async () => {
    write('ml/house.ts', model('house'))
    const { models, broken } = await loadModelsInChild({ directory: join(folder, 'ml') })
    expect(broken).toEqual([])
    expect(models.map(({ name }) => name)).toEqual(['house'])
  })

  it("is told which word 'tenure' does not export", async () => {
    write('ml/house.ts', model('house').replace('{ csv', '{ Csv, csv').replace('csv(', 'Csv('))
    const { broken } = await loadModelsInChild({ directory: join(folder, 'ml') })
    expect(broken[0]?.issues).toEqual(['line 2: tenure exports no Csv: did you mean csv?'])
  })
})
