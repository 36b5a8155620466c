/** Makes a runnable checkout of an older commit of this repository below `.tenure`: its files, packages and compiled processes. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { checkout, systemEnvironment } from '../../../temporal.config.ts'

const run = promisify(execFile)

export interface FormerBuild {
  /** The commit, abbreviated. */
  commit: string
  date: string
  folder: string
  /** Imports that build's module at the path of a module of this build. */
  load<Module>(path: string): Promise<Module>
}

/** The commit that changed a migration last: databases of earlier ones hold another text of it, and this build refuses them. */
async function findOldest(): Promise<string> {
  const { stdout } = await run('git', ['log', '-1', '--format=%h', '--diff-filter=DMR', '--', 'migrations'], {
    cwd: checkout,
  })
  return stdout.trim()
}

/** Default: the first commit whose databases this build can migrate. Throws when the clone does not hold the commit. */
export async function prepareFormer(given: string): Promise<FormerBuild> {
  const revision = given || (await findOldest())
  const said = await run('git', ['log', '-1', '--format=%h %cs', `${revision}^{commit}`], {
    cwd: checkout,
  }).catch(() => {
    throw new Error(`this clone does not hold the commit ${revision}: run \`git fetch --unshallow\``)
  })
  const [commit = '', date = ''] = said.stdout.trim().split(' ')
  const folder = join(checkout, '.tenure', `former-${commit}`)
  if (!existsSync(join(folder, 'package.json'))) {
    mkdirSync(folder, { recursive: true })
    await run('sh', ['-ec', `git archive ${commit} | tar -x -C "$0"`, folder], { cwd: checkout })
  }
  await setUp(folder)
  return {
    commit,
    date,
    folder,
    load: (path) => import(pathToFileURL(join(folder, path)).href),
  }
}

interface Part {
  name: string
  fault?: string
}

/** Uses today's packages if they match the older lockfile; a separate installation takes minutes and the network. */
async function setUp(folder: string): Promise<void> {
  const packages = join(folder, 'node_modules')
  const setup = async (cwd: string, ...options: string[]) => {
    const { stdout } = await run('npm', ['run', '--silent', 'setup', '--', ...options], {
      cwd,
      env: systemEnvironment(),
      maxBuffer: 1 << 24,
    })
    return stdout
  }
  if (!existsSync(packages)) symlinkSync(join(checkout, 'node_modules'), packages)
  const parts = JSON.parse(await setup(folder, '--report')) as Part[]
  // npm would empty the folder to which the link points.
  if (parts.some(({ name, fault }) => name === 'packages' && fault !== undefined)) rmSync(packages)
  await setup(folder)
  // That set-up has written paths of its folder into packages that both may share.
  await setup(checkout)
}
