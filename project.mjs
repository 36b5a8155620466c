// @ts-check
// Finds the project whose models, data and settings Tenure uses: the folder with tenure.config.json. A checkout of Tenure without that file
// is its own project, so that the examples are its models.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * @typedef {object} ProjectSettings
 * @property {string} models The folder of the model files, relative to the project.
 * @property {'embedded' | 'external'} temporal
 * @property {'embedded' | 'external'} postgres
 */

/**
 * @typedef {object} Project
 * @property {string} folder
 * @property {ProjectSettings} settings
 * @property {Record<string, string>} variables Settings that stand for a variable of the environment.
 * @property {string[]} issues
 */

/** The folder of Tenure's code. */
export const home = dirname(fileURLToPath(import.meta.url))
/** Whether the code was installed as a compiled npm package, whose sources cannot change. */
export const isPackage = existsSync(join(home, 'dist', 'packed'))
export const projectFile = 'tenure.config.json'

/** @type {Record<string, string>} */
const variableOf = { state: 'TENURE_STATE', alertChannels: 'TENURE_ALERT_CHANNELS', port: 'TENURE_PORT' }
const servers = ['embedded', 'external']

/**
 * Reads the project of a folder: the nearest parent folder with tenure.config.json.
 * @param {string} from @returns {Project}
 */
export function readProject(from) {
  const folder = nearest(from)
  const settings = { models: 'models', temporal: 'embedded', postgres: 'embedded' }
  /** @type {Project} */
  const project = {
    folder: folder ?? (isPackage ? resolve(from) : home),
    settings: /** @type {ProjectSettings} */ (settings),
    variables: {},
    issues: [],
  }
  if (folder === undefined) return project
  const { issues, variables } = project
  const issue = (/** @type {string} */ text) => issues.push(`${projectFile}: ${text}`)
  /** @type {unknown} */
  let given
  try {
    given = JSON.parse(readFileSync(join(folder, projectFile), 'utf8'))
  } catch (error) {
    issue(`the file is not valid JSON: ${/** @type {Error} */ (error).message}`)
  }
  if (given === undefined) return project
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    issue('one object is required')
    return project
  }
  for (const [name, value] of Object.entries(given)) {
    if (name === '$schema') continue
    if (name === 'port') {
      if (Number.isInteger(value) && value >= 0 && value <= 65_535) variables['TENURE_PORT'] = String(value)
      else issue(`port is a whole number from 0 to 65535, not ${JSON.stringify(value)}`)
    } else if (name === 'temporal' || name === 'postgres') {
      if (servers.includes(value)) settings[name] = value
      else issue(`${name} is one of ${servers.join(', ')}, not ${JSON.stringify(value)}`)
    } else if (name === 'models' || name in variableOf) {
      if (typeof value !== 'string' || value === '')
        issue(`${name} is a path inside the project, not ${JSON.stringify(value)}`)
      else if (name === 'models') {
        if (/^\/|(^|\/)\.\.(\/|$)/.test(value)) issue(`models is a path inside the project, not "${value}"`)
        else settings.models = value
      } else variables[/** @type {string} */ (variableOf[name])] = resolve(folder, value)
    } else
      issue(
        `there is no setting ${JSON.stringify(name)}; there are ${['models', ...Object.keys(variableOf), ...Object.keys(settings).slice(1)].join(', ')}`,
      )
  }
  return project
}

/** @param {string} from */
function nearest(from) {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    if (existsSync(join(folder, projectFile))) return folder
    if (folder === dirname(folder)) return undefined
  }
}

/**
 * Reads the project that TENURE_PROJECT names, or else that of the present folder. A misspelt name is an issue, because a command would
 * read, change or delete the project of the checkout in its place.
 * @param {string | undefined} named @param {string} present @returns {Project}
 */
export function findProject(named, present) {
  const found = readProject(named || present)
  if (!named || nearest(named) !== undefined || `${resolve(named)}/`.startsWith(`${home}/`)) return found
  if (!isPackage || !existsSync(named))
    found.issues.push(`TENURE_PROJECT is a folder with ${projectFile}, or below one, not "${named}"`)
  return found
}

/** The project of this process. Child processes receive its folder, because they run in the folder of the code. */
export const project = findProject(process.env['TENURE_PROJECT'], process.cwd())
export const modelsDirectory = `${join(project.folder, project.settings.models)}/`

if (project.folder !== home) {
  process.env['TENURE_PROJECT'] = project.folder
  loadVariables()
}

/** Sets the variables from the environment, `.env` and the project file, in this order of precedence. */
function loadVariables() {
  const path = join(project.folder, '.env')
  try {
    if (existsSync(path)) process.loadEnvFile(path)
  } catch (error) {
    project.issues.push(`.env cannot be read: ${/** @type {Error} */ (error).message}`)
  }
  for (const [name, value] of Object.entries(project.variables)) process.env[name] ??= value
}

/** @typedef {'temporal' | 'postgres'} ServerName */

/** @type {readonly [ServerName, variable: string][]} */
const addresses = [
  ['temporal', 'TEMPORAL_ADDRESS'],
  ['postgres', 'DATABASE_URL'],
]

/** Returns the servers that run elsewhere, for which nothing is installed. @returns {ServerName[]} */
export const externalServers = () =>
  addresses
    .filter(
      ([name, variable]) =>
        project.settings[name] === 'external' || process.env[variable] || process.env[`${variable}_FILE`],
    )
    .map(([name]) => name)

/** Returns an issue for each external server without an address. @param {Record<string, string | undefined>} environment */
export const issuesOfServers = (environment) =>
  addresses
    .filter(([name, variable]) => project.settings[name] === 'external' && !environment[variable])
    .map(([name, variable]) => `${variable} is missing: ${name} is external in ${projectFile}`)

/** Returns the file with the alert channels: TENURE_ALERT_CHANNELS, or a file in the state directory. */
export const alertChannelsFile = () =>
  resolve(
    process.env['TENURE_ALERT_CHANNELS'] ||
      join(process.env['TENURE_STATE'] || join(project.folder, '.tenure'), 'alert-channels.json'),
  )
