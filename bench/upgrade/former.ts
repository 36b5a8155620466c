/** Makes a runnable checkout of an older commit of this repository, below `.tenure`: its files, its packages, its compiled processes. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { checkout, systemEnvironment } from '../../temporal.config.ts'

const run = promisify(execFile)

export interface FormerBuild {
  /** The commit, abbreviated. */
  commit: string
  date: string
  folder: string
  /** The module of that build at the path of a module of this one. */
  load<Module>(path: string): Promise<Module>
}

/** Throws when the clone does not hold the commit. */
export async function prepareFormer(revision: string): Promise<FormerBuild> {
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

/** Today's packages serve where they fit the former lockfile; an installation of its own takes minutes and the network. */
async function setUp(folder: string): Promise<void> {
  const packages = join(folder, 'node_modules')
  const setup = async (...options: string[]) => {
    const { stdout } = await run(process.execPath, ['scripts/setup.mjs', ...options], {
      cwd: folder,
      env: systemEnvironment(),
      maxBuffer: 1 << 24,
    })
    return stdout
  }
  if (!existsSync(packages)) symlinkSync(join(checkout, 'node_modules'), packages)
  const parts = JSON.parse(await setup('--report')) as Part[]
  // npm would empty the folder that the link leads to.
  if (parts.some(({ name, fault }) => name === 'packages' && fault !== undefined)) rmSync(packages)
  await setup()
}
