/** Chooses the environment variables of training programs and of package installers. */
import { join } from 'node:path'
import { checkout, environmentWith, systemEnvironment } from '../../temporal.config.ts'

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
