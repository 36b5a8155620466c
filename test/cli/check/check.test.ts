/** Tests that `tenure check` finds without a server the errors that would occur later. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { execFileSync, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { exitCodes } from '../../../cli/exit-codes.ts'
import type { CheckedProject } from '../../../cli/check/check-project.ts'
import { initProject } from '../../../cli/init/init-project.ts'
import { checkout, environmentWith } from '../../../temporal.config.ts'

let folder: string
let model: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-check-test-'))
  await initProject({ folder, overwrite: false, choose: (_, inferred) => Promise.resolve(inferred) })
  model = readFileSync(join(folder, 'models', 'iris.ts'), 'utf8')
})
afterAll(() => rmSync(folder, { recursive: true }))
beforeEach(() => {
  writeFileSync(join(folder, 'models', 'iris.ts'), model)
})

function check(...words: string[]): CheckedProject & { code: number } {
  const args = [join(checkout, 'cli', 'tenure.mjs'), 'check', '--json', ...words]
  try {
    const out = execFileSync(process.execPath, args, {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    return { code: 0, ...(JSON.parse(out) as CheckedProject) }
  } catch (error) {
    const { status, stdout } = error as { status: number; stdout: string }
    return { code: status, ...(JSON.parse(stdout) as CheckedProject) }
  }
}

it('checks nothing while parts of the set-up are missing, and names the command that installs them', () => {
  const cache = join(folder, 'empty-cache')
  const args = [join(checkout, 'cli', 'tenure.mjs'), 'check']
  const { status, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    env: environmentWith({ TENURE_CACHE: cache }),
  })
  expect([status, stderr]).toEqual([
    exitCodes.refused,
    expect.stringMatching(/model files cannot be read yet: set-up: .*setup/s),
  ])
})

it('trains each model of a project on a few rows', () => {
  expect(check()).toMatchObject({
    code: 0,
    ok: true,
    models: [
      {
        name: 'iris',
        issues: [],
        trained: true,
        rows: expect.any(Number) as number,
        narrow: expect.stringMatching(
          /^Accuracy on about 3\d test rows: this test can show a loss of 0\.\d+ and the margin is 0\.01, so an equal challenger fails/,
        ) as string,
        decidable: expect.stringMatching(
          /with fewer than [\d,]+ requests a day this policy can never decide/,
        ) as string,
      },
    ],
  })
})

it('warns of a feature that is the label under another name, by the limits of the gate', () => {
  const data = join(folder, 'data', 'iris.csv')
  const rows = readFileSync(data, 'utf8')
  const species = ['setosa', 'versicolor', 'virginica']
  const [head, ...lines] = rows.trim().split('\n')
  const leaking = lines.map((line) => `${line},${species.findIndex((name) => line.includes(name))}`)
  try {
    writeFileSync(data, [`${head},code`, ...Array.from({ length: 5 }, () => leaking).flat()].join('\n'))
    writeFileSync(
      join(folder, 'models', 'iris.ts'),
      model
        .replace('features: {', 'features: {\n    code: number(),')
        .replaceAll('{ sepalLength: 5', '{ code: 0, sepalLength: 5')
        .replaceAll('{ sepalLength: 6', '{ code: 1, sepalLength: 6'),
    )
    expect(check()).toMatchObject({
      ok: true,
      models: [{ issues: [], leaks: [expect.stringContaining('"code" alone has AUC 1.0000') as string] }],
    })
  } finally {
    writeFileSync(data, rows)
  }
})

it('finds a training that throws, with its place', () => {
  writeFileSync(join(folder, 'models', 'iris.ts'), model.replace('await fit(network', 'await fit(networks'))
  const { code, models } = check()
  expect(code).toBe(6)
  expect(models[0]?.issues.join()).toMatch(/networks is not defined\n.*models\/iris\.ts:\d+/)
})

it('finds rows that cannot be read, with the line', () => {
  const rows = readFileSync(join(folder, 'data', 'iris.csv'), 'utf8')
  try {
    writeFileSync(join(folder, 'data', 'iris.csv'), rows.replace('4.9', 'n/a'))
    expect(check()).toMatchObject({
      code: 6,
      models: [
        { trained: false, issues: [expect.stringMatching(/line \d+, column "sepalLength"/) as string] },
      ],
    })
  } finally {
    writeFileSync(join(folder, 'data', 'iris.csv'), rows)
  }
})

it('names the folder that has no model file', () => {
  rmSync(join(folder, 'models', 'iris.ts'))
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(checkout, 'cli', 'tenure.mjs'), 'check', '--no-training'],
    { cwd: folder, encoding: 'utf8' },
  )
  expect(status).toBe(6)
  expect(stdout).toContain(`no model file in ${join(folder, 'models')}/: write one`)
  expect(stdout).toMatch(/^✗ 1 problem /m)
})

it('finds bad model files, policies, settings and alert channels, and trains nothing when that is asked for', () => {
  const settings = readFileSync(join(folder, 'tenure.config.json'), 'utf8')
  const policy = readFileSync(join(folder, 'policies', 'release.ts'), 'utf8')
  try {
    writeFileSync(join(folder, 'tenure.config.json'), settings.replace('7400', '-1'))
    writeFileSync(join(folder, 'alert-channels.json'), '[{"name": 1}]')
    writeFileSync(join(folder, 'policies', 'release.ts'), policy.replace('percent(50)', 'percent(5)'))
    const { code, settings: found, models } = check('--no-training')
    expect(code).toBe(6)
    expect(found.issues).toEqual([
      expect.stringContaining('port is a whole number'),
      expect.stringContaining('alert-channels.json'),
    ])
    expect(models).toMatchObject([
      { name: 'iris', trained: false, issues: [expect.stringContaining('release')] },
    ])
  } finally {
    writeFileSync(join(folder, 'tenure.config.json'), settings)
    writeFileSync(join(folder, 'policies', 'release.ts'), policy)
    rmSync(join(folder, 'alert-channels.json'))
  }
})
