/**
 * Re-exports the used parts of undici. In compiled processes, `import()` of a CommonJS package has no named exports; importing this file
 * has them.
 */
export {
  Agent,
  buildConnector,
  fetch as undiciFetch,
  FormData as UndiciFormData,
  request as undiciRequest,
} from 'undici'
