/**
 * What Temporal's sandbox gives to workflow code and a plain process does not. Imported before anything of the SDK, which
 * looks for it once, when it is loaded.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

Object.assign(globalThis, { AsyncLocalStorage })
