// A real OpenID provider for tests, on loopback: PKCE required, back-channel and RP-initiated logout, people with verified and unverified addresses.
import { Provider } from 'oidc-provider';

const { ISSUER, CALLBACK, LOGOUT, LEFT } = process.env;
const people = {
  alice: { preferred_username: 'alice', name: 'Alice', email: 'alice@test.example', email_verified: true, locale: 'de', zoneinfo: 'Europe/Berlin', groups: ['ops'] },
  bob: { preferred_username: 'bob', name: 'Bob', email: 'bob@test.example', email_verified: false, groups: [] },
  // Says that he is somebody else: a name and an address that are not his.
  carol: { preferred_username: 'alice', name: 'Carol', email: 'alice@test.example', email_verified: true, groups: ['ops'] },
};
const hub = {
  client_id: 'hub',
  client_secret: 'a secret: of the hub/+',
  redirect_uris: [CALLBACK],
  post_logout_redirect_uris: [LEFT],
  backchannel_logout_uri: LOGOUT,
  backchannel_logout_session_required: true,
  response_types: ['code'],
};

const provider = new Provider(ISSUER, {
  clients: [hub],
  findAccount: async (context, id) => ({ accountId: id, claims: async () => ({ sub: `subject-of-${id}`, ...people[id] }) }),
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'preferred_username', 'locale', 'zoneinfo'],
    groups: ['groups'],
  },
  scopes: ['openid', 'email', 'profile', 'groups'],
  features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  // Its guard against inner addresses would keep the logout notices from a hub on loopback.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  pkce: { required: () => true },
  cookies: { keys: ['a key for tests'] },
});
provider.listen(Number(new URL(ISSUER).port), '127.0.0.1');
