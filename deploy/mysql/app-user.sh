#!/bin/bash
# Run once by MySQL's image, on an empty data folder: the services' database and their user, who may do there what
# migrations and queries need, and nothing elsewhere.
set -e

# It becomes part of an SQL string and of a URL.
case $MYSQL_APP_PASSWORD in
*[!A-Za-z0-9_-]*)
    echo "MYSQL_APP_PASSWORD may hold letters, digits, '_' and '-' only; delete the volume mysql-data before the next try" >&2
    exit 1
    ;;
esac

MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql --user=root <<SQL
create database stockalert;
create user stockalert identified by '$MYSQL_APP_PASSWORD';
grant select, insert, update, delete, create, alter, drop, index, references on stockalert.* to stockalert;
SQL
