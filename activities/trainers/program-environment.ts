/** Prepares the programs that train a model or write its rows: their environment variables, their packages and their command. */
import { join } from 'node:path'
import type { Trainer } from '../../domain/training/trainer.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { checkout, environmentWith, systemEnvironment } from '../../temporal.config.ts'
import { preparePython } from './python-environment.ts'

type Variables = Record<string, string | undefined>

/** The environment of a training program: without addresses, keys and bytecode files, with the package `tenure` on its path. */
export const programEnvironment = (changes: Variables): Variables => ({
  ...systemEnvironment(),
  PYTHONPATH: join(checkout, 'python', 'src'),
  PYTHONUNBUFFERED: '1',
  PYTHONDONTWRITEBYTECODE: '1',
  ...changes,
})

const installerSettings =
  /^(?:PIP_|UV_)|^(?:https?_proxy|no_proxy|all_proxy|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE)$/i

/** The environment of an installer: with the settings of pip and uv, and with proxies. */
export function installerEnvironment(): Variables {
  const settings = Object.entries(environmentWith({})).filter(([name]) => installerSettings.test(name))
  return { ...systemEnvironment(), ...Object.fromEntries(settings) }
}

/** Makes the environment of a program if it has none yet. Returns its command, its packages and the digest of what it depends on. */
export async function prepareProgram(
  program: Exclude<Trainer, { kind: 'queue' }>,
  { models, cache, signal }: { models: string; cache: string; signal: AbortSignal },
): Promise<{ argv: string[]; digest: string; packages: Record<string, string> }> {
  if (program.kind === 'command')
    return { argv: program.command, digest: digestOfJson(program.command), packages: {} }
  const requirements = program.requirements === undefined ? undefined : join(models, program.requirements)
  const { interpreter } = program
  const environment = await preparePython({
    requirements,
    interpreter,
    cache,
    env: installerEnvironment(),
    signal,
  })
  const { python, digest, packages } = environment
  return { argv: [python, join(models, program.file)], digest, packages }
}
