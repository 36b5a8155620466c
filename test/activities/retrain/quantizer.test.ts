/** Tests that the program which quantizes ONNX files ends with the process that asked for it, and leaves no file. */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { operatorModel } from '../../../packages/predictors/test/support/onnx-graphs.ts'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { type AnswerableManifest, openArtifactReader } from '../../../activities/artifact/reader.ts'
import { withQuantizer } from '../../../activities/retrain/quantizer.ts'
import { openAttempt } from '../../../activities/trainers/attempt-folder.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { isProcess } from '../../../store/process-identity.ts'

let root: string
/** In place of `python3`: as the program, it tells its process, parent, limit, variables and networks, and never ends. */
const fakePython = () => `#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-c "*) echo '{"python": "'"$0"'", "base": "/usr/bin/python3", "version": "3.11.7", "platform": "Linux", "packages": {}}' ;;
  "-I "*) { echo "$$ $PPID"; ulimit -d; env; echo --; cat /proc/net/dev; } > "${root}/part"; mv "${root}/part" "${root}/runs"; exec sleep 1000 ;;
esac
`

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-quantizer-'))
  await mkdir(join(root, 'bin'))
  await writeFile(join(root, 'bin', 'python3'), fakePython())
  await chmod(join(root, 'bin', 'python3'), 0o755)
})
beforeEach(() => void vi.stubEnv('PATH', `${join(root, 'bin')}:/usr/bin:/bin`))
afterAll(() => rm(root, { recursive: true }))

const artifactRoot = () => join(root, 'artifacts')
const leftOf = (trainingId: string) => readdir(join(artifactRoot(), 'drafts', 'trainings', trainingId))
const deps = () => ({ config: { cacheDir: join(root, 'cache'), artifactRoot: artifactRoot() } })
const installing = { about: { model: 'wide' }, signal: new AbortController().signal }

it('the program has limits, no network and no variables, and ends with a reader that is killed; no file stays', async () => {
  const artifacts = openArtifacts(artifactRoot())
  vi.stubEnv('DATABASE_URL', 'postgres://secret')
  const manifest: AnswerableManifest = {
    artifact: 'onnx',
    files: { 'model.onnx': await artifacts.put('artifacts', Buffer.from(operatorModel('Relu', {}))) },
    features: { x: { kind: 'number' } },
    output: { kind: 'number' },
    preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: null }],
  }
  let program = 0
  const compressing = withQuantizer(
    deps(),
    { trainingId: 'killed', attempt: 2, ...installing },
    async (quantizer) => {
      const reader = openArtifactReader(artifactRoot())
      const made = reader.compress(manifest, { to: 'int8', meanDifference: 0.01, quantizer }, [{ x: 1 }])
      const told = (): Promise<string> => readFile(join(root, 'runs'), 'utf8').catch(() => '')
      await expect.poll(told).not.toBe('')
      const [ids = '', limit, ...lines] = (await told()).trim().split('\n')
      const [own, parent] = ids.split(' ').map(Number)
      program = own!
      expect(limit).toBe(String(2_048 * 1_024))
      const at = lines.indexOf('--')
      const variables = lines.slice(0, at).map((line) => line.split('=')[0])
      expect(variables.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name!))).toEqual(['TMPDIR'])
      if (process.getuid?.() === 0) {
        const networks = lines.slice(at + 3).map((line) => line.trim().split(':')[0])
        expect(networks.filter((name) => name !== 'lo')).toEqual([])
      }
      expect((await readdir(quantizer.folder)).sort()).toEqual(['model.onnx', 'rows.f64'])
      process.kill(parent!, 'SIGKILL')
      return made
    },
  )
  await expect(compressing).rejects.toThrow(/^the process that reads the artifact ended with SIGKILL/)
  await expect.poll(() => isProcess(program)).toBe(false)
  expect(await leftOf('killed/2')).not.toContain('tmp')
})

it('removes what an attempt of a killed worker has left', async () => {
  const { scratch } = await openAttempt(artifactRoot(), { trainingId: 'left', attempt: 1, of: 'quantizing' })
  await writeFile(join(scratch, 'model.onnx'), 'half')
  await withQuantizer(deps(), { trainingId: 'left', attempt: 2, ...installing }, async () => {})
  expect(await leftOf('left')).toEqual(['2'])
})
