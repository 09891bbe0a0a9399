-- Accounts and their API keys. Written by the backend, read by the doors.

create table accounts (
    id            uuid        primary key,
    tenant_id     text        not null,
    -- Unique over all tenants: it is all that a login asks for.
    name          text        not null unique,
    -- PHC string; the password itself is nowhere.
    password_hash text        not null,
    roles         text[]      not null,
    disabled_at   timestamptz,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    unique (id, tenant_id)
);

create table api_keys (
    id           uuid        primary key,
    tenant_id    text        not null,
    account_id   uuid        not null,
    name         text        not null,
    -- SHA-256 of the key; 190 random bits need nothing slower.
    hash         bytea       not null unique check (octet_length(hash) = 32),
    -- The first characters, to tell keys apart in a list.
    hint         text        not null,
    -- What the key narrows its owner's roles to.
    scopes       text[]      not null check (cardinality(scopes) > 0),
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    foreign key (account_id, tenant_id) references accounts (id, tenant_id) on delete cascade
);

create index api_keys_by_account on api_keys (tenant_id, account_id, id desc);

-- The doors forget what they have cached. A trigger, so that no writer can leave it out; the
-- time of the last use is left out, because it changes no decision.
create function announce_change() returns trigger language plpgsql as $$
begin
    perform pg_notify('identity_changed', '');
    return null;
end
$$;

create trigger accounts_changed
    after delete or update of tenant_id, roles, disabled_at on accounts
    for each statement execute function announce_change();

create trigger api_keys_changed
    after insert or delete or update of hash, scopes, expires_at, revoked_at on api_keys
    for each statement execute function announce_change();

-- The doors' logins; development databases may lack the roles.
do $$
begin
    if exists (select from pg_roles where rolname = 'backend') then
        grant usage on schema identity to backend;
        grant select, insert, update, delete on accounts, api_keys to backend;
        -- Start-up verifies that the schema is the one this binary was built for.
        grant select on all tables in schema identity to backend;
    end if;
    if exists (select from pg_roles where rolname = 'ollama_proxy') then
        grant usage on schema identity to ollama_proxy;
        grant select on all tables in schema identity to ollama_proxy;
        -- The one thing that a door notes: that a key is in use.
        grant update (last_used_at) on api_keys to ollama_proxy;
    end if;
end
$$;
