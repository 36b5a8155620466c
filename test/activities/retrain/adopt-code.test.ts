/** Tests that a brought folder of code becomes the file of a model with resolved packages, without running its code. */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { adoptCode } from '../../../activities/retrain/adopt-code.ts'
import type { Deps } from '../../../activities/deps.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { packCode } from '../../../store/bundles/brought-code.ts'

let root: string
/** In place of `python3`, so that no package is downloaded: tells what it installs, and describes itself. */
const fakePython = () => `#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") shift 2; for last; do :; done; { echo "$@"; cat "$last"; } > "${root}/installed"
    if grep -q absent "$last"; then echo "No matching distribution found for absent" >&2; exit 1; fi ;;
  "-c "*) echo '{"python": "'"$0"'", "base": "/usr/bin/python3", "version": "3.11.7", "platform": "Linux", "packages": {"numpy": "2.4.6"}}' ;;
esac
`

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-adopt-'))
  await mkdir(join(root, 'bin'))
  for (const name of ['python3', 'python3.12']) {
    await writeFile(join(root, 'bin', name), fakePython())
    await chmod(join(root, 'bin', name), 0o755)
  }
})
beforeEach(() => void vi.stubEnv('PATH', `${join(root, 'bin')}:/usr/bin:/bin`))
afterAll(() => rm(root, { recursive: true }))

const definition = {
  name: 'roses',
  features: { size: { kind: 'number' }, colour: { kind: 'category' } },
  featureOrder: ['size', 'colour'],
  label: { output: { kind: 'number' } },
} as unknown as ModelDefinition

async function adopt(requirements: string, columns?: string) {
  const artifacts = openArtifacts(join(root, 'artifacts'))
  const log = { info() {}, warn() {} }
  const files = { 'serve.py': 'raise SystemExit(1)', 'requirements.txt': requirements }
  const tar = packCode(new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)])))
  const named = columns === undefined ? undefined : await artifacts.put('artifacts', Buffer.from(columns))
  const artifact = {
    file: 'model.tar',
    ...(await artifacts.put('artifacts', tar)),
    columns: named?.digest,
    trainedOn: 'roses of March',
  }
  const deps = { artifacts, config: { cacheDir: join(root, 'cache') }, log } as unknown as Deps
  const steps: (string | undefined)[] = []
  const { brought, packages } = await adoptCode(deps, {
    definition,
    artifact,
    signal: new AbortController().signal,
    onInstall: (step) => steps.push(step),
  })
  const [, head = ''] = (await artifacts.get('artifacts', brought.digest)).toString('latin1').split('\n')
  return { brought, packages, steps, head: JSON.parse(head) as object }
}

it('resolves its packages from built wheels, and keeps what its user has said', async () => {
  const { brought, packages, steps, head } = await adopt('# of March\nnumpy  # any\n')
  expect(brought).toMatchObject({ file: 'model.python', trainedOn: 'roses of March' })
  expect(packages).toEqual({ numpy: '2.4.6', python: '3.11.7' })
  expect(head).toMatchObject({ python: '3.11.7', packages: { numpy: '2.4.6' }, library: 'serve.py' })
  expect(steps[0]).toMatch(/^installing requirements.txt: /)
  expect(steps.at(-1)).toBeUndefined()
  const installed = await readFile(join(root, 'installed'), 'utf8')
  expect(installed).toMatch(/^install .*--only-binary :all:.*\nnumpy\n$/)
  expect(await readdir(tmpdir())).not.toContainEqual(expect.stringMatching(/^tenure-adopt-code-/))
})

it('takes the columns of columns.json', async () =>
  expect((await adopt('numpy\n', '["colour"]')).head).toMatchObject({
    columns: [{ name: 'colour', isText: true, kind: 'category', categories: null }],
  }))

it('is refused with what cannot be installed', async () =>
  await expect(adopt('absent\n')).rejects.toMatchObject({
    code: 'environment_failed',
    message: expect.stringContaining('No matching distribution found for absent') as unknown,
  }))
